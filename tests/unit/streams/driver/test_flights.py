"""A worker's promises from the record to the commit, with everything above the Kafka clients real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from driftlog_schemas import topics
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.work import OutRecord, PartitionWork
from driftlog_streams.errors import DeliveryFailed, OrderBroken, StoreFailed
from driftlog_streams.faust_driver import pump as pumping
from driftlog_streams.faust_driver.flights import Flights
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from tests.unit.streams.cloud import NOW_MS, change, command, count, key, stock
from tests.unit.streams.driver.life import CONFLICTS, OPS, RECEIPTS, STATES, Died, Life, Lives


def send(lives: Lives, name: str, *ops: Any, partition: int = 0, replica: str = "store-1.1") -> int:
    """A batch of one command in the op topic."""
    value = lives.cloud.batch(command(name, *ops), replica=replica)
    return lives.broker.append(OPS, partition, replica.encode(), value)


def sell(lives: Lives, *seqs: int) -> None:
    """One batch for each: an increment of the same document."""
    for seq in seqs:
        send(lives, f"c{seq}", count(stock(), 5, seq))


async def merging(lives: Lives, folder: str = "a") -> Life:
    life = lives.start(folder)
    await life.own(0)
    life.read()
    return life


@contextmanager
def on_disk(life: Life) -> Iterator[PartitionStore]:
    """The store as the next life will find it."""
    with closing(WorkerStore(life.host._folder / "states")) as store:
        yield store.partition(0)


async def test_a_merged_record_is_published_stored_acknowledged_and_committed(lives: Lives) -> None:
    sell(lives, 1, 2)
    life = await merging(lives)
    await life.quiet()

    (state,) = life.topic(STATES)[-1:]
    assert state.key == key(stock()) and b'"on_hand":{"store-1.1":[10,0]}' in (state.value or b"")
    assert len(life.topic(RECEIPTS)) >= 1
    assert life.committed() == 2 and not life.consumer.unacked
    assert life.pump.committed(0) == 2, "known although no further record comes"
    assert life.pump.committed(1) == 0, "not ours"
    await life.die()
    with on_disk(life) as store:
        assert store.get(key(stock())) == state.value
        assert (store.mark.position, store.mark.group) == (state.offset, 1)


async def test_a_store_passes_what_others_wrote_when_it_was_looked_at(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who dies before leaves it to the next life."""
    life = await merging(lives)
    read = life.pump.mender._reader.records
    monkeypatch.setattr(life.pump.mender._reader, "records", lambda *_: 1 / 0)
    life.host._runner.cancel()  # type: ignore[union-attr]
    life.host._runner = asyncio.get_running_loop().create_task(life.pump.run())
    lives.broker.append(STATES, 0, b"Stock/s1/other", b"noise")
    sell(lives, 1)
    await life.quiet()
    assert life.pump.open_stores()[0].mark.position == -1

    monkeypatch.setattr(life.pump.mender._reader, "records", read)
    await life.pump.mender._read()
    sell(lives, 2)
    await life.quiet()
    assert life.pump.open_stores()[0].mark.position == life.topic(STATES)[-1].offset


@pytest.mark.parametrize("refused", [STATES, RECEIPTS])
async def test_a_flight_that_the_broker_does_not_take_ends_the_process_and_nothing_counts(
    lives: Lives, refused: str
) -> None:
    lives.broker.refusing[refused] = KafkaError.MSG_SIZE_TOO_LARGE
    life = await merging(lives)
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))
    await life.consumer.commit()

    assert isinstance(lives.deaths[0], DeliveryFailed)
    assert life.committed() is None and len(life.consumer.unacked) == 1
    await life.die()
    with on_disk(life) as store:
        assert store.get(key(stock())) is None and store.mark.position == -1


async def test_no_state_leaves_before_the_outcomes_of_its_flight(lives: Lives) -> None:
    """What is lost with them could not be found again: the replayed batch is a duplicate."""
    lives.broker.refusing[CONFLICTS] = KafkaError.MSG_SIZE_TOO_LARGE
    send(lives, "a", change(stock(), "price", "set", 3, 1))
    life = await merging(lives)
    await life.quiet()
    (before,) = life.topic(STATES)
    send(lives, "b", change(stock(), "price", "set", 4, 1, replica="store-2.1"), replica="store-2.1")
    await life.until(lambda: bool(lives.deaths))

    assert b'"store-1.1":1' in (before.value or b"") and life.topic(STATES) == [before]


class Panic(BaseException):
    """Of a library in Rust: no `Exception`."""


async def test_a_panic_where_flights_are_made_ends_the_process(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    life = await merging(lives)

    def panics() -> None:
        raise Panic

    monkeypatch.setattr(life.pump.mergers[0], "seal", panics)
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))
    assert isinstance(lives.deaths[0], Panic) and life.committed() is None


async def test_a_panic_where_records_are_merged_ends_the_process(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would go on behind the record, and commit it with the next one."""
    life = await merging(lives)

    class Stream:
        current_event = None

        def noack(self) -> Stream:
            return self

        async def __aiter__(self) -> AsyncIterator[None]:
            yield None

    async def panics(event: object) -> None:
        raise Panic

    monkeypatch.setattr(life.pump, "take", panics)
    with pytest.raises(Died):
        await life.host._merge(Stream())
    assert isinstance(lives.deaths[0], Panic)


async def test_calls_to_one_partition_leave_one_record_after_the_other(lives: Lives) -> None:
    """The broker may lose one and take the next, which makes the one that was lost a repetition."""
    sent: list[list[bytes | None]] = []
    waiting: list[Any] = []

    class Publisher:
        def publish(self, records: Sequence[OutRecord], delivered: Any, failed: Any) -> None:
            sent.append([record.value for record in records])
            waiting.append(delivered)

    life = lives.start()
    await life.own(0)
    pump = life.pump
    flights = Flights(cast(Any, Publisher()), pump.flights._pulse, pump._metrics, pump)
    calls = [OutRecord(OPS, place, b"cloud", name) for place, name in ((1, b"a"), (1, b"b"), (2, b"c"))]
    part = PartitionFlight(0, [*calls], [], [], [], [], PartitionWork(0), {OPS: 3}, calls=calls)
    flights.launch([part])
    assert sent == [[b"a", b"c"]]
    waiting.pop()({(OPS, 1): 7, (OPS, 2): 4})
    assert sent == [[b"a", b"c"], [b"b"]] and len(flights) == 1
    waiting.pop()({(OPS, 1): 8})
    assert len(flights) == 0


async def test_nothing_is_committed_while_a_flight_is_under_way(lives: Lives) -> None:
    life = await merging(lives)
    sell(lives, 1)
    await life.quiet()
    lives.broker.set_up(False)
    sell(lives, 2, 3)
    await life.until(lambda: len(life.pump.flights) > 0)
    await life.consumer.commit()
    assert life.committed() == 1

    lives.broker.set_up(True)
    await life.quiet()
    assert life.committed() == 3


async def test_partitions_taken_away_under_a_flight_end_the_process(lives: Lives) -> None:
    """Its messages may arrive after a new owner's."""
    life = await merging(lives)
    lives.broker.set_up(False)
    sell(lives, 1)
    await life.until(lambda: len(life.pump.flights) > 0)

    with pytest.raises(Died):
        await life.host._revoked(life.host.app, set())
    assert isinstance(lives.deaths[0], DeliveryFailed)


async def test_what_is_merged_but_did_not_leave_is_forgotten_with_its_partition(lives: Lives) -> None:
    life = lives.start()
    await life.own(0)
    sell(lives, 1, 2)
    first, second = [m async for _, m in life.consumer.getmany(1.0)]
    life.pump.process(_event(first, []), life.pump.admitting.admit(first))
    await life.host._revoked(life.host.app, set())
    events: list[str] = []
    life.pump.process(_event(second, events), life.pump.admitting.admit(second))
    assert events == []

    await life.own(0)
    life.read()
    await life.quiet()
    assert b'"on_hand":{"store-1.1":[10,0]}' in (life.topic(STATES)[-1].value or b"")


async def test_an_event_of_an_older_generation_is_neither_merged_nor_acknowledged(lives: Lives) -> None:
    life = lives.start()
    await life.own(0)
    sell(lives, 1)
    (message,) = [m async for _, m in life.consumer.getmany(1.0)]
    message.generation_id -= 1
    events: list[str] = []
    life.pump.process(_event(message, events), life.pump.admitting.admit(message))

    assert events == [] and life.pump._mergers[0].work.empty


@pytest.mark.parametrize(("offset", "dies", "acknowledged"), [(0, False, ["ack"]), (2, True, [])])
async def test_a_record_out_of_its_order_is_old_news_or_the_end(
    lives: Lives, offset: int, dies: bool, acknowledged: list[str]
) -> None:
    life = lives.start()
    await life.own(0)
    sell(lives, 1, 2, 3)
    messages = [m async for _, m in life.consumer.getmany(1.0)]
    events: list[str] = []
    first = messages[0]
    life.pump.process(_event(first, []), life.pump.admitting.admit(first))
    merged = life.pump._mergers[0].work.ops
    message = messages[offset]
    try:
        life.pump.process(_event(message, events), life.pump.admitting.admit(message))
    except Died:
        assert isinstance(lives.deaths[0], OrderBroken)
    assert bool(lives.deaths) == dies
    assert events == acknowledged and life.pump._mergers[0].work.ops == merged


async def test_the_append_time_is_the_brokers_to_the_millisecond(lives: Lives) -> None:
    """A float of seconds must not move it."""
    life = await merging(lives)
    lives.broker.now_ms = NOW_MS + 1_001
    send(lives, "a", change(stock(), "price", "set", 3, 1))
    send(lives, "b", change(stock(), "price", "set", 4, 1, replica="store-2.1"), replica="store-2.1")
    await life.quiet()

    (conflict,) = [lives.cloud.rules.records.decode_conflict(r.value or b"") for r in life.topic(CONFLICTS)]
    assert conflict.detected_ms == NOW_MS + 1_001


async def test_a_device_that_is_not_known_yet_is_asked_for_before_it_is_refused(lives: Lives) -> None:
    life = lives.start()
    life.directory.lines, life.directory.late = {}, dict(life.directory.lines)
    await life.own(0)
    sell(lives, 1)
    life.read()
    await life.quiet()

    assert life.directory.caught_up == 1
    assert len(life.topic(STATES)) == 1


async def test_known_devices_cost_no_question(lives: Lives) -> None:
    sell(lives, 1, 2)
    life = await merging(lives)
    await life.quiet()
    assert life.directory.caught_up == 0


async def test_the_pulse_is_felt_before_every_publishing(lives: Lives) -> None:
    """A process that stood still may have lost its partitions."""
    life = lives.start()

    class Stopped:
        def check(self) -> None:
            lives.deaths.append(RuntimeError("stood still"))
            raise Died

    life.host._pulse = Stopped()  # type: ignore[assignment]
    await life.own(0)
    life.read()
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))

    assert life.topic(STATES) == life.topic(RECEIPTS) == []


async def test_the_reader_waits_while_more_is_merged_than_a_flight_should_carry(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pumping, "MAX_SOURCES", 3)
    life = await merging(lives)
    lives.broker.set_up(False)
    sell(lives, *range(1, 40))
    await life.until(lambda: life.pump.flights.full and life.pump.congested)
    await asyncio.sleep(0.02)
    assert sum(len(m.work.sources) for m in life.pump._mergers.values()) == 3

    lives.broker.set_up(True)
    await life.quiet()
    assert life.committed() == 39


async def test_a_partition_that_comes_back_is_found_as_it_was_left(lives: Lives) -> None:
    sell(lives, 1)
    life = await merging(lives)
    await life.quiet()
    mark = life.pump.open_stores()[0].mark
    await life.own(1)
    assert sorted(life.pump.open_stores()) == [1]
    await life.own(0, 1)
    assert sorted(life.pump.open_stores()) == [0, 1]
    assert life.pump.open_stores()[0].mark == mark


class NoWalk(dict[Any, Any]):
    """Partitions that may be looked up, and not walked over."""

    def values(self) -> Any:
        raise AssertionError("walked over all partitions")

    items = __iter__ = values  # type: ignore[assignment]


async def test_a_record_costs_no_walk_over_all_partitions(lives: Lives) -> None:
    life = lives.start()
    await life.own(*range(50))
    await life.until(lambda: not life.pump._gathered.partitions)
    life.pump._mergers, life.pump._next = NoWalk(life.pump._mergers), NoWalk(life.pump._next)
    life.read()
    sell(lives, 1, 2, 3)
    await life.quiet()
    assert not lives.deaths
    life.pump._mergers, life.pump._next = {}, {}


async def test_a_defect_in_the_merge_ends_the_process(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would restart the agent past the record."""
    life = await merging(lives)
    monkeypatch.setattr(life.pump, "process", lambda event, admission: 1 / 0)
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))

    assert isinstance(lives.deaths[0], ZeroDivisionError) and life.committed() is None


async def test_a_flight_that_cannot_be_stored_ends_the_process(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: raised inside a callback of the loop, where it would only be logged."""
    life = await merging(lives)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(life.pump.open_stores()[0], "write", full)
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))
    await life.consumer.commit()

    assert isinstance(lives.deaths[0], OSError) and life.committed() is None


async def test_a_store_that_cannot_be_read_ends_the_process_and_no_record_is_blamed(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await merging(lives)

    class Broken:
        def get(self, key: bytes) -> bytes | None:
            raise Exception("IO error: While pread offset 0: Input/output error")  # as rocksdict does

    monkeypatch.setattr(life.pump.open_stores()[0], "_db", Broken())
    sell(lives, 1)
    await life.until(lambda: bool(lives.deaths))

    assert isinstance(lives.deaths[0], StoreFailed) and life.committed() is None
    assert not lives.broker.partition(topics.quarantine_topic("retail"), 0).end


def _event(message: Any, events: list[str]) -> Any:
    class Event:
        def __init__(self) -> None:
            self.message = message

        def ack(self) -> None:
            events.append("ack")

    return Event()
