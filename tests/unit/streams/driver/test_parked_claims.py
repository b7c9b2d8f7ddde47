"""What the parked topic says of a record is believed as far as the op topic has it, and what waits does so as long as its row says: nobody ages a
command, takes it back in time, or takes it away, by what he writes there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_schemas.framing import header
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA, DocumentId, document_key
from driftlog_schemas.messages import Forgetting, ParkedCommand
from driftlog_streams.faust_driver import mender
from driftlog_streams.reading import op_records
from tests.fake_kafka.broker import Stored
from tests.unit.streams.cloud import NOW_MS, command, count, stock
from tests.unit.streams.driver.life import OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send
from tests.unit.streams.driver.test_forged_numbers import ends
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


def forget_the_word(lives: Lives, key: bytes) -> None:
    """A stranger's tombstone, and compaction takes what was before it."""
    (word,) = lives.broker.read(PARKED)
    lives.broker.append(PARKED, 0, key, None)
    lives.broker.remove(PARKED, 0, word.offset)


def forget_all(lives: Lives, key: bytes) -> None:
    """The same, of all that was said."""
    lives.broker.append(PARKED, 0, key, None)
    lives.broker.remove(PARKED, 0, *[word.offset for word in lives.broker.read(PARKED)[:-1]])


def noise_over_it(lives: Lives, key: bytes) -> None:
    lives.broker.append(PARKED, 0, key, b"noise")


def another_schema(lives: Lives, key: bytes) -> None:
    lives.broker.append(PARKED, 0, key, header(4711) + b"?")


def many_words(lives: Lives, key: bytes) -> None:
    for offset in range(20):
        say(lives, key, append_ms=NOW_MS, offset=4711 + offset, record=b"?")


def a_tombstone(lives: Lives, key: bytes) -> None:
    lives.broker.append(PARKED, 0, key, None)


SPOILS = (a_tombstone, forget_the_word, noise_over_it, another_schema, many_words)


@pytest.mark.parametrize("spoil", SPOILS)
async def test_nobody_takes_away_what_waits_while_no_worker_is_there(
    lives: Lives, spoil: Callable[[Lives, bytes], None]
) -> None:
    """Its chain row says that it waits, and the op topic has its record."""
    key, true = await waiting(lives)
    value = lives.broker.read(PARKED)[-1].value
    spoil(lives, key)
    life = await heir(lives)
    assert life.host._recovered[0].parked == [true]
    await life.until(lambda: lives.broker.read(PARKED)[-1].value == value)
    life.read()
    send(lives, "first", count(stock("milk"), 5, 1))
    await life.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 8
    await life.until(lambda: lives.broker.read(PARKED)[-1].value is None)


@pytest.mark.parametrize("spoil", SPOILS)
async def test_who_owns_what_waits_has_the_last_word_on_it(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Lives, bytes], None]
) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.02)
    send(lives, "waits", count(stock("milk"), 3, 2))
    life = await merging(lives)
    await life.quiet()
    (word,) = lives.broker.read(PARKED)
    assert word.key is not None
    spoil(lives, word.key)
    await life.until(lambda: lives.broker.read(PARKED)[-1].value == word.value)
    await life.until(lambda: not life.pump.mender.unrest(0, ends(lives, life)))


@pytest.mark.parametrize("owned", [True, False])
async def test_what_does_not_wait_is_taken_off_the_list_again(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, owned: bool
) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.02)
    sell(lives, 1)
    life = await merging(lives)
    await life.quiet()
    (came,) = lives.broker.read(OPS)
    if not owned:
        await life.die()
    for key in (b"store-1.1/1/sell-1", b"store-1.1/9/never", b"no name"):
        say(lives, key, append_ms=NOW_MS, offset=4711, record=came.value or b"")
    if not owned:
        life = await heir(lives)
        life.read()
    await life.until(lambda: all(record.value is None for record in newest(lives).values()))
    sell(lives, 2)
    await life.quiet()


def newest(lives: Lives) -> dict[bytes | None, Stored]:
    return {record.key: record for record in lives.broker.read(PARKED)}


@pytest.mark.parametrize("mark", [-1, 0, 1 << 60])
async def test_that_it_was_given_up_nobody_takes_back(lives: Lives, mark: int) -> None:
    key, true = await waiting(lives)
    word = lives.cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=(key.decode(),)))
    lives.broker.append(OPS, 0, CLOUD.encode(), word)
    life = await merging(lives, "second")
    await life.quiet()
    await life.die()
    say(lives, key, append_ms=true.append_ms, offset=true.offset, record=true.record, dropped_at=mark)
    life = await heir(lives)
    life.read()
    send(lives, "first", count(stock("milk"), 5, 1))
    await life.quiet()
    assert on_hand(lives, lives.broker.read(STATES)[-1].value) == 5


def given_up(lives: Lives, key: bytes) -> None:
    """A person drops it."""
    word = lives.cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=(key.decode(),)))
    lives.broker.append(OPS, 0, CLOUD.encode(), word)


def answered(lives: Lives, seq: int) -> None:
    """Another batch of a replica that has read all that its row says."""
    value = lives.cloud.batch(command(f"next-{seq}", count(stock(), 5, seq)), floor=1 << 30)
    lives.broker.append(OPS, 0, b"store-1.1", value)


def taken_back(lives: Lives, key: bytes) -> None:
    """The word from before, and an older one goes."""
    first, *_ = lives.broker.read(PARKED)
    lives.broker.append(PARKED, 0, key, first.value)


@pytest.mark.parametrize("spoil", [a_tombstone, forget_all, noise_over_it, taken_back])
async def test_what_was_given_up_keeps_its_place_though_all_is_answered(
    lives: Lives, spoil: Callable[[Lives, bytes], None]
) -> None:
    """Its writer has read the verdict and gone on. It has no effect, and what stands behind it is not given up with it."""
    key, _ = await waiting(lives)
    given_up(lives, key)
    life = await merging(lives, "second")
    await life.quiet()
    for seq in (2, 3, 4):
        answered(lives, seq)
        await life.quiet()
    await life.die()
    spoil(lives, key)
    life = await heir(lives)
    life.read()
    send(lives, "behind", count(stock("milk"), 7, 3))
    send(lives, "first", count(stock("milk"), 5, 1))
    await life.quiet()
    assert on_hand(lives, newest_state(lives, stock("milk"))) == 12
    await life.until(lambda: newest(lives)[key].value is None)
    for seq in (5, 6):
        answered(lives, seq)
        await life.quiet()
    row = lives.cloud.rules.records.decode_chain_row(lives.broker.read(RECEIPTS)[-1].value or b"")
    assert len(row.entries) <= 2, "nothing waits any more, so its entry has gone"


async def test_what_waits_no_more_an_old_word_does_not_bring_back(lives: Lives) -> None:
    """It was given back when its life ended and was brought by another life; its row is there, or the row has forgotten it."""
    send(lives, "once", count(stock("milk"), 3, 2, replica="store-1.1"))
    life = await merging(lives)
    await life.quiet()
    (old,) = lives.broker.read(PARKED)
    send(lives, "first", count(stock("milk"), 5, 1))
    await life.quiet()
    for seq in (1, 2, 3):
        answered(lives, seq)
        await life.quiet()
    await life.die()
    assert old.key is not None
    lives.broker.append(PARKED, 0, old.key, old.value)
    life = await heir(lives)
    assert not len(life.pump._mergers[0].parking)
    life.read()
    await life.until(lambda: newest(lives)[old.key].value is None)
    answered(lives, 4)
    await life.quiet()
    assert on_hand(lives, newest_state(lives, stock("milk"))) == 8


async def test_a_batch_that_its_chain_had_refused_is_not_brought_in_as_one_that_waits(lives: Lives) -> None:
    """A copy of a folder has sent it; the op topic has it, well signed."""
    sell(lives, 1, 2)
    heads = {**lives.cloud.heads}
    fork = lives.cloud.batch(command("fork", count(stock("milk"), 3, 1)), number=2, prev=b"?" * 16)
    lives.cloud.heads = heads
    offset = lives.broker.append(OPS, 0, b"store-1.1", fork)
    life = await merging(lives)
    await life.quiet()
    for seq in (3, 4, 5):
        answered(lives, seq)
        await life.quiet()
    await life.die()
    word = ParkedCommand(NOW_MS, offset, "fork", fork, -1)
    lives.broker.append(PARKED, 0, b"store-1.1/2/fork", lives.cloud.rules.records.encode_parked(word))
    life = await heir(lives)
    life.read()
    answered(lives, 6)
    await life.quiet()
    assert newest_state(lives, stock("milk")) is None
    assert newest(lives)[b"store-1.1/2/fork"].value is None


def newest_state(lives: Lives, document: DocumentId) -> bytes | None:
    found = [record.value for record in lives.broker.read(STATES) if record.key == document_key(document)]
    return found[-1] if found else None
