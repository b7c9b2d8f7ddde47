"""A life of which the cloud takes nothing is followed by the next ever later."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_edge.link.connectivity import BACKOFF_CAP_SECONDS
from driftlog_edge.link.pace import Pace
from driftlog_edge.link.renewing import Renewing
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.store.lives import Life
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.test_renewal import S1, Folders, end_and_renew, folders, forked, receive, settle

__all__ = ["folders"]

PLACE = ("retail", S1)


def test_each_waits_twice_as_long_and_something_taken_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.link.pace.random.random", lambda: 1.0)
    pace = Pace()
    assert pace.wait(PLACE, 100.0) == 0
    waits = []
    for _ in range(10):
        pace.began(PLACE, in_vain=True, now=100.0)
        waits.append(pace.wait(PLACE, 100.0))
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, BACKOFF_CAP_SECONDS, BACKOFF_CAP_SECONDS]
    assert pace.wait(PLACE, 399.0) == 1 and pace.wait(PLACE, 401.0) == 0
    assert pace.wait(("retail", S1 + 1), 100.0) == 0, "another partition has nothing to do with it"
    pace.began(PLACE, in_vain=False, now=100.0)
    assert (pace.wait(PLACE, 100.0), pace.in_vain(PLACE)) == (0, 0)


def test_a_life_is_in_vain_until_something_of_it_was_taken(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "first", 1)
    forked(replica)
    assert replica.renewal.in_vain(*PLACE)
    end_and_renew(replica, cloud)
    assert replica.renewal.in_vain(*PLACE), "all that was taken of it is the end of the other"
    settle(replica, cloud)
    assert not replica.renewal.in_vain(*PLACE)


@pytest.mark.parametrize(("in_vain", "lives"), [(True, 1), (False, 20)])
async def test_no_news_hurry_the_next(monkeypatch: pytest.MonkeyPatch, in_vain: bool, lives: int) -> None:
    """Every life here is over as soon as it has begun."""
    monkeypatch.setattr("driftlog_edge.link.pace.backoff", lambda *args: 3600.0)
    begun: list[Rebased] = []

    def begin(*args: object) -> Generator[None, None, Rebased]:
        begun.append(Rebased(Life("store-1.abcdefgh", 0)))
        yield
        return begun[-1]

    async def written() -> None: ...

    async def ends(places: list[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 0)

    class AlwaysOver(SimpleNamespace):
        @property
        def due(self) -> list[tuple[str, int]]:
            return [PLACE] if len(begun) < 20 else []

    renewal: Any = AlwaysOver(
        under_way=lambda *place: False,
        early=lambda *place: False,
        closed=lambda space: False,
        begin=lambda *place: {},
        over=lambda *place: True,
        ending=lambda *place: "store-1.one",
        unknown=lambda *place: None,
        known=lambda *args: None,
        gathered=lambda *args: [],
        in_vain=lambda *place: in_vain,
        begun=begin,
        staged=lambda *args: None,
        survey=lambda *place: [],
        step=lambda *place: iter(()),
        ended=lambda *place: [],
    )
    committer: Any = SimpleNamespace(stage=lambda writes, sync: written(), turn=asyncio.Lock())
    asker: Any = SimpleNamespace(ends=ends)
    nothing: Any = None
    renewing = Renewing(
        renewal,
        committer,
        nothing,
        lambda: None,
        lambda: asker,
        lambda topic, partition: 0,
        "store-1",
        nothing,
        lambda: None,
        nothing,
    )
    for _ in range(100):
        renewing.run()
        await asyncio.sleep(0)
    problem = renewing.problem
    await renewing.stop()
    assert len(begun) == lives
    assert (
        "the cloud has taken nothing of the last 1, so the next begins no sooner than in 3600 s" in problem
    ) == in_vain
