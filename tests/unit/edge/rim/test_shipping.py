"""What the agent sends arrives once and in order, or is told as not arrived; and an outage of any length is sat out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from confluent_kafka import KafkaError

from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Sealed, Shipping, Unreachable
from tests.fake_kafka.broker import Broker
from tests.unit.edge.waiting import until

HOURS = 3600.0


def sealed(number: int, partition: int = 0) -> Sealed:
    return Sealed("retail.ops", partition, number, b"store-1", b"batch-%d" % number, (number,))


class Told:
    """What the loop heard."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str | None]] = []
        self.troubles = 0
        self.gone = 0

    def delivered(self, batch: Sealed, error: str | None) -> None:
        self.batches.append((batch.number, error))

    def trouble(self) -> None:
        self.troubles += 1

    def done(self) -> None:
        self.gone += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def start(broker: Broker, told: Told) -> AsyncIterator[Callable[[], Shipping]]:
    made: list[Shipping] = []

    def start() -> Shipping:
        made.append(KafkaRoute("nowhere").ship(asyncio.get_running_loop(), told.delivered, told.trouble))
        return made[-1]

    yield start
    for shipping in made:
        shipping.close()


async def test_each_batch_arrives_in_order_and_is_told(
    broker: Broker, told: Told, start: Callable[[], Shipping]
) -> None:
    shipping = start()
    for number in range(5):
        shipping.send(sealed(number))
    shipping.send(sealed(9, partition=2))
    await until(lambda: len(told.batches) == 6)

    assert [(r.key, r.value) for r in broker.read("retail.ops")] == [(b"store-1", b"batch-%d" % n) for n in range(5)]
    assert [r.value for r in broker.read("retail.ops", 2)] == [b"batch-9"]
    assert told.batches == [(n, None) for n in (0, 1, 2, 3, 4, 9)]


async def test_a_delivered_batch_outlives_the_leader(broker: Broker, told: Told, start: Callable[[], Shipping]) -> None:
    start().send(sealed(1))
    await until(lambda: bool(told.batches))
    broker.fail_over()
    assert [r.value for r in broker.read("retail.ops")] == [b"batch-1"]


async def test_a_lost_acknowledgement_does_not_double_a_batch(
    broker: Broker, told: Told, start: Callable[[], Shipping]
) -> None:
    broker.lost_acks = 1
    start().send(sealed(1))
    await until(lambda: bool(told.batches))
    assert len(broker.read("retail.ops")) == 1


async def test_a_batch_that_the_broker_refuses_is_told_with_the_reason(
    broker: Broker, told: Told, start: Callable[[], Shipping]
) -> None:
    broker.refusing["retail.ops"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    start().send(sealed(1))
    await until(lambda: bool(told.batches))
    number, error = told.batches[0]
    assert number == 1 and error


async def test_an_outage_of_days_is_sat_out(broker: Broker, told: Told, start: Callable[[], Shipping]) -> None:
    shipping = start()
    broker.set_up(False)
    shipping.send(sealed(1))
    broker.pass_seconds(72 * HOURS)
    await asyncio.sleep(0.1)
    assert told.batches == []
    broker.set_up(True)
    await until(lambda: told.batches == [(1, None)])


async def test_a_client_without_room_says_so(broker: Broker, start: Callable[[], Shipping]) -> None:
    shipping = start()
    broker.set_up(False)
    shipping._producer._limit = 1  # type: ignore[attr-defined]
    shipping.send(sealed(1))
    with pytest.raises(Unreachable):
        shipping.send(sealed(2))


async def test_closing_drops_what_did_not_leave(broker: Broker, told: Told, start: Callable[[], Shipping]) -> None:
    """It is sealed in the store and goes out again; a late copy from a closed client would only be in the way."""
    shipping = start()
    broker.set_up(False)
    shipping.send(sealed(1))
    shipping.close()
    broker.set_up(True)
    await asyncio.sleep(0.05)
    assert broker.read("retail.ops") == []


async def test_closing_gives_what_is_on_its_way_a_moment(broker: Broker, start: Callable[[], Shipping]) -> None:
    shipping = start()
    broker.set_up(False)
    for number in range(50):
        shipping.send(sealed(number))
    closing = asyncio.get_running_loop().run_in_executor(None, shipping.close, 5.0)
    await asyncio.sleep(0.2)
    assert not closing.done()
    broker.set_up(True)
    await closing
    assert len(broker.read("retail.ops")) == 50


@pytest.mark.parametrize("refused", [None, KafkaError.UNKNOWN_TOPIC_OR_PART])
async def test_a_heartbeat_is_gone_whether_or_not_it_arrived(
    broker: Broker, told: Told, start: Callable[[], Shipping], refused: int | None
) -> None:
    """Else the next one would wait for it for ever."""
    if refused is not None:
        broker.refusing["driftlog.heartbeats"] = refused
    start().tell("driftlog.heartbeats", b"store-1", b"alive", told.done)
    await until(lambda: told.gone == 1)
    assert told.batches == []
    expected = [] if refused else [(b"store-1", b"alive")]
    assert [(r.key, r.value) for r in broker.read("driftlog.heartbeats")] == expected


async def test_what_is_closed_has_left_the_network(told: Told) -> None:
    """The real client, at a port where nobody listens."""
    shipping = KafkaRoute("127.0.0.1:1").ship(asyncio.get_running_loop(), told.delivered, told.trouble)
    shipping.send(sealed(1))
    await asyncio.to_thread(shipping.close)
    await until(lambda: told.batches)
    assert [number for number, error in told.batches if error] == [1], "what was not delivered is told"
    with pytest.raises(Unreachable, match="closed"):
        shipping.send(sealed(2))
