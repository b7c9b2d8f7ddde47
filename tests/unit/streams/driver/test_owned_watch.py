"""A worker tells how its partitions stand: what waits, what is in conflict and overdue, what was rejected and why, and how large its stores are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from driftlog_streams.errors import StoreFailed
from driftlog_streams.faust_driver.owned_watch import LATE_MS, OwnedWatch
from driftlog_streams.telling.metrics import MOST_WORDS, OTHERS, CounterBy, WorkerMetrics
from tests.unit.streams.cloud import change, stock
from tests.unit.streams.driver.life import OPS, Lives
from tests.unit.streams.driver.test_flights import sell, send

NOW_MS = 10_000_000


def told(registry: CollectorRegistry, name: str, label: str = "space") -> dict[str, float]:
    """Value of each series of a metric, by one of its labels."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {s.labels[label]: s.value for f in families for s in f.samples if s.name == f"driftlog_worker_{name}"}


def only(registry: CollectorRegistry, name: str) -> float:
    (value,) = told(registry, name).values()
    return value


async def test_what_waits_in_the_log_and_what_the_stores_take(lives: Lives) -> None:
    sell(lives, 1, 2, 3)
    life = lives.start()
    await life.own(0)
    registry = life.host.metrics.registry
    watch = life.host._owned_watch(life.pump)
    await watch.look()
    assert only(registry, "lag_records") == 3
    life.read()
    await life.quiet()
    await watch.look()
    assert only(registry, "lag_records") == 0
    assert only(registry, "store_bytes") > 0
    assert only(registry, "open_conflicts") == only(registry, "overdue_conflicts") == 0


async def test_who_owns_nothing_tells_of_nothing(lives: Lives) -> None:
    sell(lives, 1)
    life = lives.start()
    await life.own()
    await life.host._owned_watch(life.pump).look()
    registry = life.host.metrics.registry
    assert (only(registry, "lag_records"), only(registry, "store_bytes")) == (0, 0)


async def test_rejections_are_counted_by_their_code(lives: Lives) -> None:
    sell(lives, 1)
    send(lives, "less than nothing", change(stock(), "on_hand", "increment", -1, 2))
    life = lives.start()
    await life.own(0)
    life.read()
    await life.quiet()
    assert told(life.host.metrics.registry, "rejections_total", "code") == {"invalid": 1}


def test_an_app_that_makes_up_codes_makes_no_more_series() -> None:
    registry = CollectorRegistry()
    counter = CounterBy("driftlog_worker_rejections", "By code", "retail", "code", registry)
    for number in range(3 * MOST_WORDS):
        counter.add({f"c{number}": 2})
    counter.add({"c0": 1})
    found = told(registry, "rejections_total", "code")
    assert len(found) == MOST_WORDS + 1
    assert (found["c0"], found[OTHERS]) == (3, 2 * 2 * MOST_WORDS)


class Store:
    """One partition's, of which some documents are in conflict."""

    def __init__(self, names: dict[bytes, bytes], due: list[tuple[int, bytes, bytes | None]]) -> None:
        self._names, self._due = names, due
        self.broken = False

    def disputes(self) -> Iterator[bytes]:
        if self.broken:
            raise StoreFailed("the store of states cannot be read: I/O error", "look at the disk")
        return iter(self._names)

    def disputes_of(self, key: bytes) -> list[bytes]:
        return [name for name, of in self._names.items() if of == key]

    def due(self, until_ms: int) -> Iterator[tuple[int, bytes, bytes | None]]:
        return (one for one in self._due if one[0] <= until_ms)


class Log:
    """Op logs that end there."""

    def ends(self, places: Any) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 7)


@pytest.fixture
def stores() -> dict[int, Store]:
    late, soon = NOW_MS - LATE_MS - 1, NOW_MS - LATE_MS + 1
    disputed = {b"1": b"tea", b"2": b"tea", b"3": b"oat"}
    due = [(late, b"tea", b"v"), (late, b"decided", b"v"), (late, b"purged", None), (soon, b"oat", b"v")]
    return {0: Store(disputed, due), 4: Store({b"4": b"rye"}, [])}


async def test_open_and_overdue_conflicts_are_told_apart(stores: dict[int, Store]) -> None:
    metrics = WorkerMetrics("retail")
    watch = OwnedWatch(OPS, Log(), lambda: stores, lambda partition: 5, lambda: 4711, metrics, lambda: NOW_MS)
    await watch.look()
    facts = ("open_conflicts", "overdue_conflicts", "lag_records", "store_bytes")
    assert [only(metrics.registry, name) for name in facts] == [4, 1, 4, 4711]


async def test_what_cannot_be_asked_is_said_once_and_ends_nothing(stores: dict[int, Store]) -> None:
    metrics = WorkerMetrics("retail")
    watch = OwnedWatch(OPS, Log(), lambda: stores, lambda partition: 5, lambda: 1, metrics, lambda: NOW_MS)
    await watch.look()
    stores[0].broken = True
    with capture_logs() as logs:
        for _ in range(3):
            await watch.look()
    assert len(logs) == 1
    assert only(metrics.registry, "open_conflicts") == 4, "what was told stands"
    stores[0].broken = False
    await watch.look()
