"""How much may be on its way: a link that is measured, one that gets slower, one that has a budget."""

from __future__ import annotations

from collections import deque

import pytest

from driftlog_edge.outgoing.flow import BATCH_SECONDS, LEAST_BYTES, REMEMBERED_SECONDS, Bucket, Departure, Flow
from driftlog_edge.outgoing.forecast import Forecast, Load
from driftlog_edge.outgoing.shipper import Shipper
from tests.unit.edge.replica import HandClock, Replica


class Link:
    """Carries so many bytes a second, one batch after another, and tells of each after a delay."""

    def __init__(self, flow: Flow, clock: HandClock, per_second: float, delay: float = 0.0) -> None:
        self.flow, self.clock, self.per_second, self.delay = flow, clock, per_second, delay
        self._flying: deque[tuple[int, Departure, float]] = deque()
        self._free_at = 0.0
        self.longest = 0.0
        """What one batch took of the link at most."""
        self.sent = 0

    def fill(self) -> None:
        """Send as much as may go, of an app that always has more."""
        while self.flow.room(flying := sum(size for size, _, _ in self._flying)):
            size, now = self.flow.batch_bytes, self.clock.monotonic()
            self._free_at = max(self._free_at, now) + size / self.per_second
            self.longest = max(self.longest, size / self.per_second)
            self._flying.append((size, self.flow.sent(size, flying), self._free_at + self.delay))
            self.sent += size

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            self.fill()
            due = min([end, *(at for _, _, at in self._flying)])
            if self.flow.bucket.pause():
                due = min(due, self.clock.monotonic() + 0.5)
            self.clock.pass_seconds(max(0.0, due - self.clock.monotonic()))
            while self._flying and self._flying[0][2] <= self.clock.monotonic():
                size, departure, _ = self._flying.popleft()
                self.flow.arrived(size, departure)
            if self.clock.monotonic() >= end:
                return


@pytest.fixture
def flow(clock: HandClock) -> Flow:
    return Flow(clock.monotonic)


@pytest.mark.parametrize(("per_second", "delay"), [(1_000, 0.0), (1_000, 1.5), (50_000, 0.6), (5_000_000, 0.02)])
def test_a_link_is_measured_as_it_is_and_no_batch_takes_it_for_long(
    flow: Flow, clock: HandClock, per_second: float, delay: float
) -> None:
    link = Link(flow, clock, per_second, delay)
    link.run(60)
    assert flow.measured == pytest.approx(per_second, rel=0.35)
    assert link.longest <= max(BATCH_SECONDS * 1.3, LEAST_BYTES / per_second)
    assert link.sent >= 0.6 * per_second * 60


def test_a_link_that_gets_slower_is_believed_after_a_while(flow: Flow, clock: HandClock) -> None:
    link = Link(flow, clock, 100_000)
    link.run(20)
    link.per_second = 1_000
    link.run(2 * BATCH_SECONDS * 100 + 2 * REMEMBERED_SECONDS)  # what was on its way takes as long as it takes
    assert flow.measured == pytest.approx(1_000, rel=0.35)
    link.longest = 0.0
    link.run(60)
    assert link.longest <= LEAST_BYTES / 1_000


def test_an_app_that_has_little_to_say_does_not_make_a_link_slow(flow: Flow, clock: HandClock) -> None:
    Link(flow, clock, 1_000_000).run(10)
    for _ in range(100):
        clock.pass_seconds(1)
        departure = flow.sent(100, 0)
        clock.pass_seconds(0.2)
        flow.arrived(100, departure)
    assert flow.measured == pytest.approx(1_000_000, rel=0.35)
    flow.forget()
    assert (flow.measured, flow.batch_bytes) == (None, LEAST_BYTES)


@pytest.mark.parametrize("link_per_second", [1_000_000, 3_000])
def test_a_budget_is_kept_whatever_the_link_carries(clock: HandClock, link_per_second: int) -> None:
    flow = Flow(clock.monotonic, 2_000)
    link = Link(flow, clock, link_per_second)
    link.run(300)
    assert 0.9 * 2_000 * 300 <= link.sent <= 2_000 * 301 + LEAST_BYTES
    assert flow.pace == pytest.approx(2_000, rel=0.1)
    flow.bucket.set(0)
    before = link.sent
    link.run(60)
    assert link.sent - before > 2_500 * 60


def test_a_bucket_saves_up_no_more_than_a_moment(clock: HandClock) -> None:
    bucket = Bucket(clock.monotonic, 100)
    clock.pass_seconds(3600)
    bucket.spend(100)
    assert bucket.pause() == pytest.approx(0.01)
    bucket.spend(1000)
    clock.pass_seconds(10)
    assert bucket.pause() > 0
    clock.pass_seconds(0.1)
    assert bucket.pause() == 0
    none = Bucket(clock.monotonic, 0)
    none.spend(1 << 40)
    assert none.pause() == 0


def test_what_is_critical_goes_before_what_waits_for_a_slow_link(replica: Replica) -> None:
    flow = Flow(replica.clock.monotonic)
    shipper = Shipper(replica.outbox, 16, flow)
    for number in range(400):
        replica.run("receive", f"c{number}", store="s1", sku=f"article-{number}", qty=1)
    replica.commit()
    replica.shipper = shipper
    first = replica.ship()
    assert [size for batch in first if (size := len(batch.value)) > LEAST_BYTES] == []
    assert len([lsn for batch in first for lsn in batch.lsns]) < 400
    replica.do("reprice", "urgent", store="s1", sku="tea", price=1)
    assert replica.ship() == []  # as much is on its way as the slowest link carries in a moment
    replica.clock.pass_seconds(4)
    for batch in first:
        shipper.delivered(batch, replica.clock.monotonic())
    following = replica.ship(limit=1)
    assert replica.views.command(following[0].lsns[0]).id == "urgent"


def test_the_forecast_takes_no_less_than_the_link_needs() -> None:
    pace: list[float | None] = [None]
    forecast = Forecast(lambda: Load(100, 50_000, 1000, 1 << 20), lambda: 500, lambda: pace[0])
    assert forecast.outlook(0.0).drained_in_seconds is None
    pace[0] = 1_000.0
    assert forecast.outlook(1.0).drained_in_seconds == 50.0
