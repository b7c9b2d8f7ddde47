"""Where topics end: the offset that comes next, of the partition that was asked for, or `Unreachable` in time."""

from __future__ import annotations

import pytest

from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Unreachable
from tests.fake_kafka.broker import Broker

STATES, OTHER, EMPTY = ("retail.state", 3), ("retail.state", 0), ("retail.state", 9)


async def test_the_end_is_the_offset_that_comes_next_of_each_partition(broker: Broker) -> None:
    for n in range(5):
        broker.append(*STATES, b"key", b"%d" % n)
    broker.append(*OTHER, b"key", b"value")
    broker.retain(*STATES, 2)

    assert await KafkaRoute("nowhere").ask().ends([STATES, EMPTY, OTHER], 5.0) == {STATES: 5, EMPTY: 0, OTHER: 1}


async def test_a_broker_that_says_no_is_unreachable(broker: Broker) -> None:
    broker.set_up(False)
    with pytest.raises(Unreachable):
        await KafkaRoute("nowhere").ask().ends([STATES], 5.0)


async def test_a_broker_that_says_nothing_is_unreachable_too(broker: Broker) -> None:
    broker.silent = True
    with pytest.raises(Unreachable) as failed:
        await KafkaRoute("nowhere").ask().ends([STATES], 0.05)
    assert isinstance(failed.value.__cause__, TimeoutError)
