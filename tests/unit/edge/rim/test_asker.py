"""Where topics end: the offset that comes next, of the partition that was asked for, or `Unreachable` in time."""

from __future__ import annotations

import pytest

from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Extent, Unreachable
from tests.fake_kafka.broker import Broker

STATES, OTHER, EMPTY = ("retail.state", 3), ("retail.state", 0), ("retail.state", 9)


async def test_the_end_is_the_offset_that_comes_next_of_each_partition(broker: Broker) -> None:
    for n in range(5):
        broker.append(*STATES, b"key", b"%d" % n)
    broker.append(*OTHER, b"key", b"value")
    broker.retain(*STATES, 2)

    assert await KafkaRoute("nowhere").ask().ends([STATES, EMPTY, OTHER], 5.0) == {STATES: 5, EMPTY: 0, OTHER: 1}


async def test_an_extent_tells_where_a_partition_begins_and_ends_and_which_life_of_its_topic_it_is(
    broker: Broker,
) -> None:
    for n in range(5):
        broker.append(*STATES, b"key", b"%d" % n)
    broker.retain(*STATES, 2)
    asker = KafkaRoute("nowhere").ask()
    assert await asker.extents([STATES, EMPTY], 5.0) == {STATES: Extent("first", 2, 5), EMPTY: Extent("first", 0, 0)}
    broker.topic_ids["retail.state"] = "second"
    assert (await asker.extents([STATES], 5.0))[STATES].topic_id == "second"


async def test_how_long_tombstones_are_kept_is_the_topics_own_setting(broker: Broker) -> None:
    asker = KafkaRoute("nowhere").ask()
    assert await asker.tombstones_kept("retail.state", 5.0) is None
    broker.settings["delete.retention.ms"] = "90000"
    assert await asker.tombstones_kept("retail.state", 5.0) == 90.0


async def test_all_connections_ask_through_one_client(broker: Broker) -> None:
    route = KafkaRoute("nowhere")
    assert route.ask() is route.ask()


async def test_a_broker_that_says_no_is_unreachable(broker: Broker) -> None:
    broker.set_up(False)
    with pytest.raises(Unreachable):
        await KafkaRoute("nowhere").ask().ends([STATES], 5.0)


async def test_a_broker_that_says_nothing_is_unreachable_too(broker: Broker) -> None:
    broker.silent = True
    with pytest.raises(Unreachable) as failed:
        await KafkaRoute("nowhere").ask().ends([STATES], 0.05)
    assert isinstance(failed.value.__cause__, TimeoutError)
