"""The state topic is deleted and made anew: workers stop rather than go on without what it held, and what they say to do brings every state back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from driftlog_schemas.topics import ops_topic
from tests.admin_clients import admin_of
from tests.integration.conftest import LoadRun
from tests.integration.test_returns import remade
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REMEDY = re.compile(r"--group (\S+) --topic (\S+) --reset-offsets --to-earliest --execute")
TOLD = "the topic was made anew"


def rewind(run: LoadRun, group: str, topic: str) -> None:
    """What `kafka-consumer-groups --reset-offsets --to-earliest` does."""
    until(lambda: not run.group.owners(), "the group has no members", 60)
    earliest = [TopicPartition(topic, partition, 0) for partition in range(run.space.partitions)]
    reset = ConsumerGroupTopicPartitions(group, earliest)
    done = admin_of(run.bootstrap).alter_consumer_group_offsets([reset])[group].result(10)
    assert all(partition.error is None for partition in done.topic_partitions)


def test_a_state_topic_made_anew_stops_the_workers_until_all_ops_are_merged_again(
    on_broker: Callable[..., LoadRun],
) -> None:
    run = on_broker(ops_per_batch=5)
    worker = run.worker("keeper")
    stores = run.place.folder / "workers"

    def count_told() -> int:
        return worker.log.read_text().count(TOLD)

    with worker:
        with run.feeder(1_000, records_per_second=200):
            pass
        run.group.await_drained(explain=worker.tail)
        remade(run)
        with run.feeder(500, records_per_second=100):
            until(lambda: count_told() > 0, "a worker that ran says what happened", 90, worker.tail)
        worker.stop()
    shutil.rmtree(stores)
    told = count_told()
    remade(run)
    with worker:
        until(lambda: count_told() > told, "one without a store says so as well", 90, worker.tail)
        worker.stop()
    remedy = REMEDY.search(worker.log.read_text())
    assert remedy is not None, worker.tail()
    assert remedy[2] == ops_topic(run.space.name)

    shutil.rmtree(stores)
    rewind(run, remedy[1], remedy[2])
    with worker:
        with run.feeder(500, records_per_second=200):
            pass
        run.group.await_drained(explain=worker.tail)
        assert worker.stop() == 0
    found = run.judge()
    assert found.good, found
