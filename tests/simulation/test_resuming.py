"""The consumer of a world goes on where Faust's does: at the group's commit, and its merger begins just there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from driftlog_schemas.topics import SpaceTopics, space_topics
from tests.fake_kafka.broker import Broker
from tests.simulation.app import PARTITIONS, SPACE
from tests.simulation.group import OPS
from tests.simulation.log import SimulatedLog
from tests.simulation.scheduler import Scheduler
from tests.simulation.worker_rim import GroupConsumer, Reading
from tests.unit.streams.driver.fetching import GROUP, assigned, consumer_on

RECORDS = 6
PLACE = TP(OPS, 0)


async def faust_begins_at(committed: int | None) -> int:
    """The first record that production lets through."""
    broker = Broker()
    for n in range(RECORDS):
        broker.append(*PLACE, b"key", b"%d" % n)
    if committed is not None:
        broker.committed[GROUP, *PLACE] = committed
    consumer, fetching = consumer_on(broker, OPS)
    await assigned(consumer, fetching, [PLACE], 1)
    await consumer.perform_seek()
    async for _, message in consumer.getmany(1.0):
        return int(message.offset)
    raise AssertionError("nothing was let through")


def in_a_world(committed: int | None) -> Any:
    """A process on a log that the group has committed so far."""
    scheduler = Scheduler(1)
    log = SimulatedLog(scheduler, space_topics(SPACE.name, PARTITIONS))
    for n in range(RECORDS):
        log.append(*PLACE, b"key", b"%d" % n)
    if committed is not None:
        log.commit(*PLACE, committed)
    network = SimpleNamespace(arrival=lambda name: scheduler.now)
    world = SimpleNamespace(log=log, network=network, scheduler=scheduler)
    life = SimpleNamespace(after=lambda delay, label, action: action())
    rules = SimpleNamespace(topics=SpaceTopics(SPACE.name))
    return SimpleNamespace(world=world, name="w", life=life, rules=rules)


@pytest.mark.parametrize("committed", [None, 0, 3, RECORDS - 1])
async def test_both_resume_at_the_same_record(committed: int | None) -> None:
    process = in_a_world(committed)
    consumer = GroupConsumer(process)
    consumer.begin([PLACE.partition], 1)
    first = consumer._queue.get_nowait().offset
    assert first == await faust_begins_at(committed) == (committed or 0)

    (told,) = Reading(process.world).committed([SimpleNamespace(topic=OPS, partition=PLACE.partition)], 1.0)
    assert max(told.offset, 0) == first, "what recovery takes for the merger's beginning"
