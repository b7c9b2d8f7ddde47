"""A device with too many lives is noticed, by the log's time."""

from __future__ import annotations

import pytest

from driftlog_streams.core import life_watch
from driftlog_streams.core.life_watch import MAX_LIVES, WINDOW_MS, LifeWatch
from tests.unit.streams.cloud import NOW_MS, Cloud, command, count, stock


def test_over_three_new_lives_in_an_hour_are_too_many() -> None:
    watch = LifeWatch()
    step = WINDOW_MS // 10
    assert [watch.born("store-1", step * n) for n in range(5)] == [False, False, False, True, True]


def test_whoever_reads_the_rows_finds_the_same() -> None:
    step = WINDOW_MS // 10
    assert life_watch.marked([step * n for n in (3, 0, 2, 1)]) == step * 3
    assert life_watch.marked([step * n for n in (0, 1, 2)]) == 0
    assert life_watch.marked([n * WINDOW_MS // MAX_LIVES for n in range(50)]) == 0
    assert life_watch.marked([0, 1, 2, 3, 9 * WINDOW_MS]) == 3, "it stays told"


def test_lives_that_come_slowly_are_nobodys_concern() -> None:
    watch = LifeWatch()
    assert not any(watch.born("store-1", n * WINDOW_MS // MAX_LIVES) for n in range(50))


def test_each_device_is_counted_for_itself() -> None:
    watch = LifeWatch()
    assert not any(watch.born(f"store-{n}", n) for n in range(50))


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life_watch, "MAX_DEVICES", 10)
    watch = LifeWatch()
    for n in range(100):
        watch.born(f"store-{n}", n)
    assert len(watch._births) == 10


def test_a_copied_key_is_told_and_its_batches_are_taken(cloud: Cloud) -> None:
    for n in range(MAX_LIVES + 1):
        sale = command(f"c{n}", count(stock(), 1, 1, f"store-1.{n}"))
        cloud.merge(sale, replica=f"store-1.{n}", append_ms=NOW_MS + n)
    again = command("again", count(stock(), 1, 2, "store-1.0"))
    cloud.merge(again, replica="store-1.0", append_ms=NOW_MS + 9)
    work = cloud.merger.work
    cloud.fly()
    rows = [cloud.row(f"store-1.{n}") for n in range(MAX_LIVES + 1)]
    assert [row.born_ms - NOW_MS for row in rows] == [0, 1, 2, 3], "a later batch begins no life"
    assert life_watch.marked(row.born_ms for row in rows) == NOW_MS + 3
    assert work.cloned == 1
    assert [(notice.device_id, notice.code) for notice in cloud.notices()] == [("store-1", "cloned")]
    assert cloud.value(stock(), "on_hand") == MAX_LIVES + 2
