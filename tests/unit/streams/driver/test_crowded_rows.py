"""A chain row that is full of what is not committed yet waits for the commit: what the log alone would let in is not refused for it."""

from __future__ import annotations

import pytest

from driftlog_schemas import row_room
from driftlog_schemas.messages import ChainEntry, ChainRow
from tests.unit.streams.cloud import command, count, stock
from tests.unit.streams.driver.life import OPS, RECEIPTS, Lives

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


async def test_a_row_that_a_crash_has_let_out_ahead_holds_up_nothing(lives: Lives) -> None:
    """A batch that came early, and names as unanswered none before it: those before it came later, and fill the row. What would be waited for is not
    committed before this one is merged."""
    cloud = lives.cloud
    early = cloud.batch(command("c5", count(stock(), 1, 5)), number=5, prev=b"\x05" * 16, floor=5)
    lives.broker.append(OPS, 0, b"store-1", early)
    entries = tuple(ChainEntry(number, bytes(8), 20 + number) for number in (2, 3, 4))
    row = ChainRow("store-1", "store-1.1", "retail", 0, 4, b"\x04" * 16, 2, entries, offset=24)
    for _ in range(25):
        lives.broker.append(OPS, 0, b"store-1", None)
    lives.broker.append(RECEIPTS, 0, b"store-1.1", cloud.rules.records.encode_chain_row(row))
    life = lives.start()
    await life.own(0)
    life.read()
    await life.quiet()
    assert life.pump.mergers[0].merged_to == 25 and life.committed() == 26
