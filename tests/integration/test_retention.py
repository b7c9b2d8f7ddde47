"""Retention passes what was not merged yet: the worker stops with the loss and its remedy, and the remedy lets it go on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from driftlog_schemas.topics import ops_topic
from tests.admin_clients import admin_of
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REMEDY = re.compile(r"--group (\S+) --topic (\S+):(\d+) --reset-offsets --to-offset (\d+) --execute")
LOST = 5


def test_ops_that_retention_took_stop_the_worker_until_somebody_says_to_go_on(
    on_broker: Callable[..., LoadRun],
) -> None:
    run = on_broker(ops_per_batch=5)
    admin, topic = admin_of(run.bootstrap), ops_topic(run.space.name)
    with run.worker("keeper") as worker:
        with run.feeder(500, records_per_second=200):
            pass
        run.group.await_drained(explain=worker.tail)
        assert worker.stop() == 0
    merged = {p: run.group.position(p) for p in range(run.space.partitions)}
    with run.feeder(1_000, records_per_second=500):
        pass
    admin.delete_records([TopicPartition(topic, 0, merged[0] + LOST)])[TopicPartition(topic, 0)].result(10)

    with run.worker("keeper") as worker:
        said = "ops are lost"
        until(lambda: said in worker.log.read_text(), "the worker says what was lost", 90, worker.tail)
        worker.stop()
    text = worker.log.read_text()
    assert f"{topic}[0] has no record {merged[0]}; the next one is {merged[0] + LOST}" in text
    remedy = REMEDY.search(text)
    assert remedy is not None, worker.tail()
    group, of, partition, offset = remedy.groups()
    assert (of, int(partition), int(offset)) == (topic, 0, merged[0] + LOST)

    until(
        lambda: not run.group.owners(),
        "the group has no members: one that was killed is one until its session ends",
        60,
    )
    reset = ConsumerGroupTopicPartitions(group, [TopicPartition(of, int(partition), int(offset))])
    (done,) = admin.alter_consumer_group_offsets([reset])[group].result(10).topic_partitions
    assert done.error is None
    with run.worker("keeper") as worker:
        run.group.await_drained(explain=worker.tail)
        assert worker.stop() == 0
