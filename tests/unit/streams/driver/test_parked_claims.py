"""What the parked topic says of a record is believed as far as the op topic has it: nobody ages a command, or takes it back in time, by a word there."""

from __future__ import annotations

import pytest

from driftlog_schemas.messages import ParkedCommand
from driftlog_streams.reading import op_records
from tests.unit.streams.cloud import NOW_MS, count, stock
from tests.unit.streams.driver.life import OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send
from tests.unit.streams.driver.test_recovery import on_hand


async def waiting(lives: Lives) -> tuple[bytes, ParkedCommand]:
    """A life that ends while a command waits: its key, and what stands of it in the topic."""
    sell(lives, 1)
    send(lives, "waits", count(stock("milk"), 3, 2))
    life = await merging(lives)
    await life.quiet()
    await life.die()
    (record,) = lives.broker.read(PARKED)
    assert record.key is not None
    return record.key, lives.cloud.rules.records.decode_parked(record.value or b"")


async def heir(lives: Lives) -> Life:
    life = lives.start("empty")
    await life.own(0)
    return life


def say(lives: Lives, key: bytes, *, append_ms: int, offset: int, record: bytes, dropped_at: int = -1) -> None:
    """A stranger's word on it."""
    word = ParkedCommand(append_ms, offset, "waits", record, dropped_at)
    lives.broker.append(PARKED, 0, key, lives.cloud.rules.records.encode_parked(word))


@pytest.mark.parametrize("append_ms", [0, 1, NOW_MS + (1 << 40)])
async def test_when_it_came_the_op_topic_says(lives: Lives, append_ms: int) -> None:
    key, true = await waiting(lives)
    say(lives, key, append_ms=append_ms, offset=true.offset, record=true.record)
    life = await heir(lives)
    assert life.host._recovered[0].parked == [true]
    (found,) = life.pump._mergers[0].parking.waiting()
    assert (found.append_ms, found.offset) == (true.append_ms, true.offset)


@pytest.mark.parametrize("offset", [0, 2, 4711, 1 << 60, -1])
async def test_a_word_on_another_record_does_not_replace_the_true_one(lives: Lives, offset: int) -> None:
    key, true = await waiting(lives)
    say(lives, key, append_ms=true.append_ms, offset=offset, record=true.record)
    life = await heir(lives)
    assert life.host._recovered[0].parked == [true]


async def test_that_it_was_given_up_its_chain_says(lives: Lives) -> None:
    key, true = await waiting(lives)
    say(lives, key, append_ms=true.append_ms, offset=true.offset, record=true.record, dropped_at=true.offset)
    life = await heir(lives)
    life.read()
    send(lives, "first", count(stock("milk"), 5, 1))
    await life.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 8


async def test_of_a_record_that_is_gone_the_chain_knows_the_offset(lives: Lives) -> None:
    key, true = await waiting(lives)
    sell(lives, 2)
    lives.broker.retain(OPS, 0, true.offset + 1)
    (left,) = lives.broker.read(OPS)
    say(lives, key, append_ms=NOW_MS + (1 << 40), offset=true.offset - 1, record=true.record)
    life = await heir(lives)
    (parked,) = life.host._recovered[0].parked
    assert parked.append_ms == left.timestamp_ms, "not after what is left there"
    assert not len(life.pump._mergers[0].parking)
    assert lives.broker.read(RECEIPTS)


async def test_far_apart_records_are_asked_for_one_by_one(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_records, "READ_ON", 1)
    send(lives, "waits", count(stock("milk"), 3, 2))
    sell(lives, 1, 2, 3)
    send(lives, "too", count(stock("rice"), 3, 2))
    life = await merging(lives)
    await life.quiet()
    await life.die()
    after = await heir(lives)
    assert [parked.offset for parked in after.host._recovered[0].parked] == [0, 4]
