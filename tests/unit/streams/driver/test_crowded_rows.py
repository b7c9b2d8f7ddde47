"""A chain row that is full of what is not committed yet waits for the commit: what the log alone would let in is not refused for it."""

from __future__ import annotations

import pytest

from driftlog_schemas import row_room
from tests.unit.streams.cloud import command, count, stock
from tests.unit.streams.driver.life import OPS, Lives

BATCHES, ENTRIES = 10, 3


@pytest.fixture(autouse=True)
def small_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_room, "MAX_ENTRIES", ENTRIES)


def append(lives: Lives, number: int, *, floor: int) -> None:
    value = lives.cloud.batch(command(f"c{number}", count(stock(), 1, number)), floor=floor)
    lives.broker.append(OPS, 0, b"store-1", value)


async def test_what_is_not_committed_yet_leaves_before_a_batch_is_refused_for_it(lives: Lives) -> None:
    for number in range(1, BATCHES + 1):
        append(lives, number, floor=number)
    life = lives.start()
    await life.own(0)
    life.read()
    await life.quiet()
    row = life.pump.mergers[0]._at.book.get("store-1.1")
    assert row is not None
    assert row.last == BATCHES and len(row.entries) <= ENTRIES
    assert life.committed() == BATCHES
    assert not life.pump._hurried


async def test_one_whose_replica_asks_for_all_of_it_is_refused_at_once(lives: Lives) -> None:
    for number in range(1, 6):
        append(lives, number, floor=1)
    life = lives.start()
    await life.own(0)
    life.read()
    await life.quiet()
    row = life.pump.mergers[0]._at.book.get("store-1.1")
    assert row is not None and row.notice is not None
    assert (row.last, row.notice.code) == (3, "early"), "the fourth was `window_full`, and the fifth came before it"
