"""A device's stamps stay near real time, however wrong its clock is or once was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_crdt import bounded
from driftlog_crdt.hlc import millis, pack
from driftlog_edge.ports import Record
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import EPOCH_MS, Replica
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.test_verdicts import row

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
MINUTE, HOUR, YEAR = 60_000, 3_600_000, 365 * 86_400_000


class Day:
    """What the clock of the device shows is real time and `wrong` more."""

    def __init__(self, replica: Replica, cloud: Cloud) -> None:
        self.replica = replica
        self.cloud = cloud
        self.ms = EPOCH_MS
        self.wrong = 0

    def goes_on(self, ms: int) -> None:
        self.ms += ms
        self.set(self.wrong)

    def set(self, wrong: int) -> None:
        self.wrong = wrong
        self.replica.clock.ms = self.ms + wrong

    def writes(self, sku: str = "tea") -> int:
        """The stamp of a write."""
        lsn = self.replica.do("receive", store="s1", sku=sku, qty=1).entry.lsn
        return self.replica.views.command(lsn).hlc

    def off(self, stamp: int) -> int:
        """How far a stamp is ahead of real time."""
        return millis(stamp) - self.ms

    def reaches_the_cloud(self) -> None:
        """All batches are taken now, and the device hears of it."""
        for sealed in self.replica.ship():
            newest = max(c.hlc for c in self.replica.outbox.sealed.batch(self.replica.outbox.sealed.all()[-1]).commands)  # type: ignore[union-attr]
            ahead = millis(newest) - self.ms
            skew = ahead if ahead > 5 * MINUTE else 0
            self.hears(row(self.replica, sealed, skew_ms=skew, append_ms=self.ms))

    def hears(self, told: ChainRow) -> None:
        self.cloud.publish_row(told)
        self.replica.pull_receipts(self.cloud.of("retail.receipts", S1), S1)


@pytest.fixture
def day(replica: Replica, cloud: Cloud) -> Day:
    return Day(replica, cloud)


def test_a_clock_that_was_once_years_ahead_comes_back_when_the_log_says_so(day: Day) -> None:
    day.set(4 * YEAR)
    assert day.off(day.writes()) == 4 * YEAR
    day.set(0)
    assert day.off(day.writes()) == 4 * YEAR, "nobody has said that it is wrong"
    day.reaches_the_cloud()

    day.goes_on(HOUR)
    assert day.off(day.writes()) == 0


def test_a_clock_that_is_still_years_ahead_is_corrected_and_right_again_when_it_is_set(day: Day) -> None:
    day.set(4 * YEAR)
    day.writes()
    day.reaches_the_cloud()
    day.goes_on(HOUR)
    assert day.off(day.writes()) == 0

    day.set(0)
    day.goes_on(MINUTE)
    day.writes()
    day.reaches_the_cloud()
    day.goes_on(MINUTE)
    assert 0 <= day.off(day.writes()) <= MINUTE


def test_hearing_of_it_twice_corrects_once(day: Day) -> None:
    day.set(YEAR)
    day.writes()
    (sealed,) = day.replica.ship()
    told = row(day.replica, sealed, skew_ms=YEAR, append_ms=day.ms)
    for _ in range(3):
        day.hears(told)
    day.goes_on(MINUTE)
    assert day.off(day.writes()) == 0


def test_what_was_written_offline_counts_from_when_it_was_written(day: Day) -> None:
    day.set(4 * YEAR)
    day.writes()
    day.reaches_the_cloud()
    day.goes_on(HOUR)
    written_ms, stamp = day.ms, day.writes()
    day.goes_on(8 * HOUR)
    assert bounded(stamp, append_ms=day.ms) == stamp
    assert millis(stamp) == written_ms, "not the time of arrival"


def test_the_correction_outlives_a_restart(day: Day, lives: Callable[..., Replica]) -> None:
    day.set(YEAR)
    day.writes()
    day.reaches_the_cloud()
    day.replica = lives()
    day.goes_on(HOUR)
    assert day.off(day.writes()) == 0


def test_own_writes_of_a_document_are_stamped_in_their_order_within_the_bound(day: Day) -> None:
    day.set(4 * MINUTE)
    first = day.writes()
    day.set(YEAR)
    day.writes("coffee")
    day.set(4 * MINUTE)
    day.reaches_the_cloud()
    day.set(0)
    assert first < day.writes() < pack(day.ms + 5 * MINUTE)


def test_a_stamp_from_elsewhere_beyond_the_bound_is_not_followed(day: Day) -> None:
    for ahead, followed in ((4 * MINUTE, True), (YEAR, False)):
        before = day.replica.executor.stamps.clock.last
        day.replica.executor.stamps.observe(pack(day.ms + ahead), day.ms)
        assert (day.replica.executor.stamps.clock.last > before) is followed
    assert day.off(day.writes()) == 4 * MINUTE


def test_a_state_from_years_ahead_does_not_drag_the_clock_along(day: Day) -> None:
    day.cloud.write(TEA, "name", "set", "black")
    tea = day.cloud.states[TEA].fields["name"]
    tea[0] = tea[0]._replace(hlc=pack(EPOCH_MS + YEAR))
    records: list[Record] = day.cloud.publish_group("retail", S1, [TEA], number=10_001)
    day.replica.pull_states(records, S1)
    assert day.replica.value("Stock", "s1", "tea")["name"] == "black"
    assert day.off(day.writes()) == 0
