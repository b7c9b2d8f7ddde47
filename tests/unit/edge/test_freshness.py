"""An age never shrinks without contact: not by a restart, not by a clock that is set, not by a machine that was started anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Offline
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import Stock, app
from tests.unit.edge.waiting import until

PLACE = ("retail.state", 0)
HOUR = 3600.0


class Life:
    """What one life of an agent knows of ages, in a folder that outlives it."""

    def __init__(self, folder: Path, clock: HandClock) -> None:
        self._store = RocksStore(folder)
        journal = Journal(self._store)
        self._committer = Committer(journal, self._store, ChangeLog(self._store, "a"))
        self.freshness = Freshness([PLACE], journal, self._committer, clock)

    @property
    def age(self) -> float | None:
        return self.freshness.age(self.freshness.since(PLACE))

    async def end(self) -> None:
        self.freshness.keep()
        await self._committer.drained()
        self._committer.close()
        self._store.close()


@pytest.fixture
def life(tmp_path: Path, clock: HandClock) -> Callable[[], Life]:
    return lambda: Life(tmp_path / "replica", clock)


async def in_step_an_hour_ago(life: Callable[[], Life], clock: HandClock) -> None:
    first = life()
    first.freshness.in_step(PLACE, first.freshness.now())
    clock.pass_seconds(HOUR)
    await first.end()


async def test_before_the_first_contact_there_is_no_age(life: Callable[[], Life]) -> None:
    first = life()
    assert first.age is None and not first.freshness.younger(PLACE, 1e9)
    await first.end()


async def test_an_age_goes_on_over_a_restart(life: Callable[[], Life], clock: HandClock) -> None:
    await in_step_an_hour_ago(life, clock)
    clock.pass_seconds(HOUR)
    again = life()
    assert again.age == pytest.approx(2 * HOUR)
    await again.end()


async def test_a_clock_set_back_does_not_make_old_data_young(life: Callable[[], Life], clock: HandClock) -> None:
    await in_step_an_hour_ago(life, clock)
    clock.seconds += HOUR
    clock.ms -= 24 * 3_600_000
    again = life()
    assert again.age == pytest.approx(2 * HOUR), "the same start of the machine: its monotonic clock knows"
    await again.end()


@pytest.mark.parametrize("up", [5.0, 1_000_000.0], ids=["just now", "longer ago than the one before"])
@pytest.mark.parametrize(
    ("wall_seconds", "least"),
    [(HOUR, 2 * HOUR), (60.0, HOUR + 60), (-24 * HOUR, HOUR)],
    ids=["right", "without a battery", "went back"],
)
async def test_after_a_new_start_of_the_machine_nothing_is_promised(
    life: Callable[[], Life], clock: HandClock, up: float, wall_seconds: float, least: float
) -> None:
    await in_step_an_hour_ago(life, clock)
    clock.started, clock.seconds = "boot-2", up
    clock.ms += int(wall_seconds * 1000)
    again = life()
    assert again.age == pytest.approx(least), "at least that"
    assert not again.freshness.younger(PLACE, 1e9), "and nobody knows how much more"
    await again.end()

    clock.pass_seconds(60)
    third = life()
    assert not third.freshness.younger(PLACE, 1e9), "a second restart does not make it known"
    third.freshness.in_step(PLACE, third.freshness.now())
    assert third.freshness.younger(PLACE, 0)
    await third.end()


async def test_a_slow_clock_does_not_serve_old_data_as_fresh(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock
) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged")
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        await agent.offline()
    clock.started, clock.seconds = "boot-2", 5.0
    clock.ms += 1_000  # without a battery it goes on from where it was
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        with pytest.raises(Offline):
            await agent.read(Stock, "s1", "tea", max_age=60)


# -- what the feed says, and what the broker says of the topic


async def test_what_the_feed_says_counts_once_the_broker_has_named_the_topic_after_it(
    life: Callable[[], Life], clock: HandClock
) -> None:
    first = life()
    known = first.freshness
    asked_before = known.now()
    clock.pass_seconds(1)
    assert known.heard(PLACE, known.now()), "nothing is known yet: the topic should be asked for"
    assert first.age is None
    known.identified(PLACE, asked_before)
    assert first.age is None, "who was asked before knew nothing of this"
    clock.pass_seconds(1)
    known.identified(PLACE, known.now())
    assert first.age == 1 and known.younger(PLACE, 1)
    clock.pass_seconds(14)
    assert not known.heard(PLACE, known.now())
    assert first.age == 15 and not known.younger(PLACE, 14), "no promise of what may be another topic"
    clock.pass_seconds(2)
    assert known.heard(PLACE, known.now())


async def test_what_the_feed_said_of_scopes_that_were_held_before_says_nothing(
    life: Callable[[], Life], clock: HandClock
) -> None:
    first = life()
    first.freshness.heard(PLACE, first.freshness.now())
    first.freshness.follow([PLACE], [PLACE])
    first.freshness.identified(PLACE, first.freshness.now())
    assert first.age is None
