"""The position that is committed is ours: only what is delivered and stored, in this generation, and never one further."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust.types import TP

from driftlog_streams.faust_driver import overrides
from driftlog_streams.faust_driver.overrides import FastConsumer
from tests.fake_kafka.broker import Broker
from tests.unit.streams.driver.fetching import GROUP, Fetching, assigned, consumer_on

OPS = TP("retail.ops", 0)


@pytest.fixture
async def member(broker: Broker) -> tuple[FastConsumer, Fetching]:
    for n in range(6):
        broker.append(*OPS, b"key", b"%d" % n)
    return consumer_on(broker, OPS.topic)


async def read(consumer: FastConsumer) -> list[Any]:
    found = [message async for _, message in consumer.getmany(1.0)]
    for message in found:
        consumer.track_message(message)
    return found


async def test_an_acknowledged_record_is_not_committed_before_it_is_done(
    broker: Broker, member: tuple[FastConsumer, Fetching]
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    messages = await read(consumer)
    for message in messages:
        assert consumer.ack(message)
    await consumer.commit()
    assert broker.committed == {}
    assert not consumer.unacked

    consumer.mark_done(messages[0])
    consumer.mark_done(messages[1])
    await consumer.commit()
    assert broker.committed == {(GROUP, *OPS): 2}, "the next offset to read, neither the last one nor one further"


async def test_a_record_of_an_older_generation_counts_nothing(
    broker: Broker, member: tuple[FastConsumer, Fetching]
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    old = await read(consumer)
    await assigned(consumer, fetching, [OPS], 2)
    await consumer.perform_seek()

    consumer.mark_done(old[3])
    await consumer.commit()

    assert broker.committed == {}


async def test_what_was_done_before_a_rebalance_is_not_committed_after_it(
    broker: Broker, member: tuple[FastConsumer, Fetching]
) -> None:
    """Another worker may have owned the partition in between, and be further, or nearer."""
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    consumer.mark_done((await read(consumer))[3])
    await assigned(consumer, fetching, [OPS], 2)
    await consumer.perform_seek()
    await consumer.commit()

    assert broker.committed == {}


async def test_records_are_done_in_their_order(member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    messages = await read(consumer)
    consumer.mark_done(messages[3])
    with pytest.raises(AssertionError, match="order"):
        consumer.mark_done(messages[1])


async def test_other_topics_are_committed_as_faust_does_it(
    broker: Broker, member: tuple[FastConsumer, Fetching], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, fetching = member
    monkeypatch.setattr(consumer.app.topics, "acks_enabled_for", lambda topic: True)
    other = TP("elsewhere", 0)
    broker.append(*other, b"key", b"value")
    await assigned(consumer, fetching, [other], 1)
    await consumer.perform_seek()
    for message in await read(consumer):
        consumer.ack(message)
    await consumer.commit()

    assert broker.committed == {(GROUP, *other): 1}


async def test_waiting_for_what_was_begun_ends_with_its_acknowledgement(
    broker: Broker, member: tuple[FastConsumer, Fetching]
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    messages = await read(consumer)
    waiting = asyncio.ensure_future(consumer.wait_empty())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    for message in messages:
        consumer.ack(message)
        consumer.mark_done(message)
    await asyncio.wait_for(waiting, 30)

    assert broker.committed == {(GROUP, *OPS): 6}


async def test_waiting_for_acknowledgements_that_do_not_come_is_given_up(
    broker: Broker, member: tuple[FastConsumer, Fetching], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overrides, "DRAIN_SECONDS", 0.05)
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    messages = await read(consumer)

    await asyncio.wait_for(consumer.wait_empty(), 30)

    assert not consumer.unacked and broker.committed == {}
    assert messages


async def test_an_expelled_member_commits_nothing(broker: Broker, member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    consumer.mark_done((await read(consumer))[0])
    fetching.expelled = True
    await consumer.commit()

    assert broker.committed == {}
