"""A stage of a flight goes out once, in order, to all replicas; and its fate is told once, whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException

from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver import publisher
from driftlog_streams.faust_driver.publisher import Publisher
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Message, Producer

TIMEOUT_SECONDS = 10.0


class Fate:
    """What a stage was told."""

    def __init__(self) -> None:
        self.delivered: list[Mapping[tuple[str, int], int]] = []
        self.failed: list[str] = []
        self.known = asyncio.Event()

    def on_delivered(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.delivered.append(dict(offsets))
        self.known.set()

    def on_failed(self, error: str) -> None:
        self.failed.append(error)
        self.known.set()


def record(key: int, topic: str = "states", partition: int = 0) -> OutRecord:
    return OutRecord(topic, partition, b"key-%d" % key, b"value-%d" % key, [("mark", b"%d" % key)])


Send = Callable[..., Fate]


@pytest.fixture
async def sending(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], Publisher]]:
    made: list[Publisher] = []
    monkeypatch.setattr(publisher, "Producer", lambda config: Producer(broker, config))

    def start() -> Publisher:
        loop = asyncio.get_running_loop()
        made.append(Publisher("nowhere", TIMEOUT_SECONDS, loop, lambda: broker.now_ms / 1000))
        return made[-1]

    yield start
    for each in made:
        each.close(0.0)


async def fate_of(publisher: Publisher, *records: OutRecord) -> Fate:
    fate = Fate()
    publisher.publish(records, fate.on_delivered, fate.on_failed)
    await asyncio.wait_for(fate.known.wait(), 30)
    await asyncio.sleep(0)
    return fate


@pytest.mark.parametrize("offset", [None, OFFSET_INVALID])
async def test_what_is_reported_without_an_offset_is_not_delivered(
    sending: Any, monkeypatch: pytest.MonkeyPatch, offset: int | None
) -> None:
    """librdkafka's word for what a later batch's success seems to have acknowledged; on a partition just made it is in no log."""
    monkeypatch.setattr(Message, "offset", lambda self: offset)
    fate = await fate_of(sending(), record(1))
    assert not fate.delivered and "without an offset" in fate.failed[0]


async def test_all_delivered_gives_the_last_offset_of_each_partition(broker: Broker, sending: Any) -> None:
    broker.append("states", 1, b"other", b"")
    fate = await fate_of(sending(), record(1), record(2), record(3, partition=1), record(4, topic="receipts"))

    assert fate.failed == []
    assert fate.delivered == [{("states", 0): 1, ("states", 1): 1, ("receipts", 0): 0}]
    sent = broker.read("states")
    assert [(r.key, r.value, r.headers) for r in sent] == [
        (b"key-1", b"value-1", (("mark", b"1"),)),
        (b"key-2", b"value-2", (("mark", b"2"),)),
    ]


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_that_fails_fails_the_stage_wherever_it_stands(broker: Broker, sending: Any, at: int) -> None:
    broker.refusing["full"] = KafkaError.MSG_SIZE_TOO_LARGE
    records = [record(n) for n in range(2)]
    records.insert(at, record(9, topic="full"))

    fate = await fate_of(sending(), *records)

    assert fate.delivered == [] and len(fate.failed) == 1
    assert fate.failed[0].startswith("full[0]: ")


async def test_behind_one_that_fails_nothing_goes_out(broker: Broker, sending: Any) -> None:
    """A group without one of its documents, but with its end, is whole to every reader."""
    broker.set_up(False)
    publisher, fates = sending(), [Fate(), Fate(), Fate()]
    records = [record(1), record(2, topic="full"), record(3)]
    for fate, each in zip(fates, records, strict=True):
        publisher.publish([each], fate.on_delivered, fate.on_failed)
    broker.pass_seconds(TIMEOUT_SECONDS)
    for fate in fates:
        await asyncio.wait_for(fate.known.wait(), 30)
    broker.set_up(True)
    later = await fate_of(publisher, record(4))

    assert [len(fate.failed) for fate in (*fates, later)] == [1, 1, 1, 1]
    assert all("not delivered within 10 s" in fate.failed[0] for fate in (*fates, later))
    assert broker.read("states") == []


async def test_what_the_producer_would_give_up_by_itself_it_is_not_given_the_time_for(sending: Any) -> None:
    """It would go on with the next message; and so it would where a broker refuses one."""
    config = sending()._producer.config
    assert config["message.timeout.ms"] > TIMEOUT_SECONDS * 1000
    assert config["enable.gapless.guarantee"] and config["enable.idempotence"]


async def test_after_a_refusal_nothing_more_is_taken(broker: Broker, sending: Any) -> None:
    broker.refusing["full"] = KafkaError.MSG_SIZE_TOO_LARGE
    publisher = sending()
    await fate_of(publisher, record(1, topic="full"))
    fate = await fate_of(publisher, record(2))
    assert fate.failed[0].startswith("full[0]: ") and broker.read("states") == []


async def test_a_producer_that_stops_says_why_and_ends_what_waits(
    broker: Broker, sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, to whoever polls, and tells what became of its messages afterwards."""
    broker.set_up(False)
    publisher, fate, said = sending(), Fate(), ["states [0]: Message size too large"]
    poll = publisher._producer.poll

    def stopped(timeout: float) -> int:
        if said:
            raise KafkaException(KafkaError(KafkaError._GAPLESS_GUARANTEE, said.pop(), True))
        return int(poll(timeout))

    publisher.publish([record(1)], fate.on_delivered, fate.on_failed)
    monkeypatch.setattr(publisher._producer, "poll", stopped)
    await asyncio.wait_for(fate.known.wait(), 30)
    assert "Message size too large" in fate.failed[0]
    assert "Message size too large" in (await fate_of(publisher, record(2))).failed[0]


async def test_what_was_delivered_outlives_the_leader(broker: Broker, sending: Any) -> None:
    await fate_of(sending(), record(1))
    broker.fail_over()

    assert [r.key for r in broker.read("states")] == [b"key-1"]


async def test_a_lost_acknowledgement_does_not_double_a_record(broker: Broker, sending: Any) -> None:
    broker.lost_acks = 1
    fate = await fate_of(sending(), record(1), record(2))

    assert [r.key for r in broker.read("states")] == [b"key-1", b"key-2"]
    assert fate.delivered == [{("states", 0): 1}]


async def test_a_short_outage_is_sat_out_and_one_as_long_as_the_session_is_not(broker: Broker, sending: Any) -> None:
    """What an expelled worker still has queued must not arrive after its partitions are somebody else's."""
    broker.set_up(False)
    fate = Fate()
    sending().publish([record(1)], fate.on_delivered, fate.on_failed)
    broker.pass_seconds(TIMEOUT_SECONDS - 1)
    broker.set_up(True)
    await asyncio.wait_for(fate.known.wait(), 30)
    assert fate.delivered and not fate.failed

    broker.set_up(False)
    late = Fate()
    sending().publish([record(2)], late.on_delivered, late.on_failed)
    broker.pass_seconds(TIMEOUT_SECONDS)
    await asyncio.wait_for(late.known.wait(), 30)
    broker.set_up(True)
    assert late.failed and [r.key for r in broker.read("states")] == [b"key-1"]


async def test_a_full_queue_holds_back_and_loses_nothing(
    broker: Broker, sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "QUEUE_MESSAGES", 2)
    fate = await fate_of(sending(), *(record(n) for n in range(9)))

    assert fate.delivered == [{("states", 0): 8}]
    assert [r.key for r in broker.read("states")] == [b"key-%d" % n for n in range(9)]


async def test_closing_waits_a_while_for_what_is_queued(broker: Broker, sending: Any) -> None:
    publisher = sending()
    broker.set_up(False)
    fate = Fate()
    publisher.publish([record(n) for n in range(50)], fate.on_delivered, fate.on_failed)
    closing = asyncio.get_running_loop().run_in_executor(None, publisher.close)
    await asyncio.sleep(0.2)
    assert not closing.done()
    broker.set_up(True)
    await closing

    assert len(broker.read("states")) == 50 and len(fate.delivered) == 1
