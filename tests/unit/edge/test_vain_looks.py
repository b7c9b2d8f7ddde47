"""An agent whose broker answers the client that asks, and none of the others, makes those anew: their password is another by now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from driftlog import EdgeAgent
from driftlog_edge.config import EdgeConfig
from driftlog_edge.link.vain_looks import FIRST, MOST, VainLooks
from driftlog_edge.ports import Sealed
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.conftest import FixedIds
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import online, until


class LockedOut:
    """Ships nothing, and is in trouble all the while."""

    def __init__(self, inner: Any, trouble: Any) -> None:
        self._inner = inner
        self._task = asyncio.ensure_future(self._fail(trouble))

    async def _fail(self, trouble: Any) -> None:
        while True:
            trouble()
            await asyncio.sleep(0.001)

    def send(self, batch: Sealed) -> None:
        pass

    def tell(self, *told: Any) -> None:
        pass

    def close(self, seconds: float) -> None:
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        self._inner.close(seconds)


class Changed(CloudRoute):
    """The first client has a password that is none by now."""

    made = 0

    def ship(self, loop: Any, delivered: Any, trouble: Any) -> Any:
        self.made += 1
        inner = super().ship(loop, delivered, trouble)
        return LockedOut(inner, trouble) if self.made == 1 else inner


@pytest.mark.usefixtures("quick_ticks")
async def test_clients_that_are_in_trouble_while_the_broker_answers_are_made_anew(
    config: EdgeConfig, ids: FixedIds, cloud: Cloud
) -> None:
    route = Changed(cloud)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
        await until(lambda: agent.status()["pending"] == 0)
        await online(agent)
    assert route.made == 2


def good(looks: VainLooks) -> int:
    """So many good answers until the clients are made anew."""
    return next(count for count in range(1, 10 * MOST) if looks.answered(offline=True))


def test_each_time_it_waits_twice_as_long() -> None:
    looks = VainLooks()
    assert [good(looks) for _ in range(7)] == [8, 16, 32, 64, 128, 256, 256]


def test_what_gets_through_begins_it_anew() -> None:
    looks = VainLooks()
    good(looks)
    for _ in range(FIRST - 1):
        assert not looks.answered(offline=True)
    looks.through()
    assert good(looks) == FIRST


def test_answers_while_all_is_well_count_nothing() -> None:
    looks = VainLooks()
    assert not any(looks.answered(offline=False) for _ in range(10 * MOST))
