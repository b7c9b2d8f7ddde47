"""What an agent says of its outbox to come: by what it saw of it."""

from __future__ import annotations

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.outgoing.forecast import COME_SECONDS, Forecast, Load
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import app


class Box:
    """An outbox by hand."""

    def __init__(self) -> None:
        self.written = self.waiting = self.size = 0
        self.forecast = Forecast(lambda: Load(self.waiting, self.size, 1_000, 100_000), lambda: self.written)

    def write(self, commands: int, size: int = 10) -> None:
        self.written += commands
        self.waiting += commands
        self.size += commands * size

    def leave(self, commands: int) -> None:
        self.size -= self.size * commands // self.waiting
        self.waiting -= commands


def test_less_than_a_minute_tells_nothing() -> None:
    box = Box()
    assert box.forecast.outlook(0.0) == (None, None, None)
    box.write(50)
    assert box.forecast.outlook(59.0) == (None, None, None)


@pytest.mark.parametrize(("size", "full"), [(10, 400), (400, 25), (1_000, 0)], ids=["commands", "bytes", "over"])
def test_when_it_will_be_full_at_the_rate_of_what_was_written(size: int, full: float) -> None:
    box = Box()
    box.forecast.look(0.0)
    box.write(200, size)
    found = box.forecast.outlook(100.0)
    assert found.commands_per_hour == 7_200
    assert found.full_in_seconds == pytest.approx(full), "by the bound that is met first"
    assert found.drained_in_seconds is None, "nothing has left"


def test_bytes_without_a_command_tell_nothing_of_those_to_come() -> None:
    box = Box()
    box.forecast.look(0.0)
    box.write(200)
    box.leave(200)
    box.size = 7
    assert box.forecast.outlook(100.0).full_in_seconds == pytest.approx(500)


def test_how_long_the_drain_takes_at_the_pace_of_the_last_minutes() -> None:
    box = Box()
    box.write(900)
    for second in range(0, 120, 10):
        box.forecast.look(float(second))
        box.leave(20)
    found = box.forecast.outlook(120.0)
    assert box.waiting == 660
    assert found.drained_in_seconds == pytest.approx(660 / 2)
    assert found.full_in_seconds is None, "nothing was written meanwhile"
    assert box.forecast.outlook(2_000.0).drained_in_seconds is None, "what was long ago is no pace"


def test_what_was_written_long_ago_tells_nothing_of_today() -> None:
    box = Box()
    box.forecast.look(0.0)
    box.write(100)
    for hour in range(1, 50):
        box.forecast.look(hour * 3_600.0)
    assert box.forecast.outlook(50 * 3_600.0).commands_per_hour == 0
    assert len(box.forecast._coming._seen) <= COME_SECONDS / 300 + 2, "bounded"


async def test_an_agent_tells_it(config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock) -> None:
    route.up = False
    async with EdgeAgent(
        app, config.model_copy(update={"outbox_limit": 10}), route=route, ids=ids, clock=clock
    ) as agent:
        assert agent.status()["forecast"]["full_in_seconds"] is None
        for _ in range(6):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        clock.pass_seconds(3_600)
        found = agent.status()["forecast"]
        assert found["commands_per_hour"] == pytest.approx(6)
        assert found["full_in_seconds"] == pytest.approx(4 / 6 * 3_600)
        assert found["drained_in_seconds"] is None
