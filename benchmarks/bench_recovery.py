"""A worker that has nothing takes partitions over: documents a second from the state topic into its stores, beside a raw consume of the same records.

Ours is what a worker does between its assignment and the first op: committed offsets and ends asked for, states read, checked against their groups, counted into the digests of
their scopes and written to RocksDB, then the other topics, which are empty here. The baseline reads the same records with the same settings
and does nothing with them. One thread each; processor time stands beside.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import BenchSpace
from benchmarks.quiet import quiet
from benchmarks.states import merged
from driftlog_schemas import topics
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.faust_driver.recovery import ChangelogRecovery
from driftlog_streams.process.worker import spare_the_collector

PARTITIONS = 4
QUICK, USUAL, LARGE = 2_000, 200_000, 1_000_000
"""Documents."""
BLOCK = 10_000
AIM = 2.0

shared = cluster.servers


@contextmanager
def _recovering(clock: Callable[[], float], ground: Ground) -> Iterator[Sides]:
    quiet()
    documents = ground.size(QUICK, USUAL, LARGE)
    space = ground.shared.space(cluster.fresh_name("recovery"), ground.folder, partitions=PARTITIONS, devices=1)
    ground.say(f"writing {documents} states")
    merged(space, documents)
    spare_the_collector()
    rules = SpaceRules(space.contract.spaces[space.name], space.ids)
    recovery = ChangelogRecovery(space.place.bootstrap, rules)
    folders = (ground.folder / f"stores-{number}" for number in itertools.count())

    def ours() -> Samples:
        with closing(WorkerStore(next(folders))) as store:
            begun = clock()
            found = recovery.recover({number: store.partition(number) for number in range(PARTITIONS)})
            seconds = clock() - begun
        assert sum(partition.records for partition in found.values()) == documents
        return [seconds / documents * 1e6]

    facts: dict[str, Any] = {"documents": documents}
    yield Sides(ours, lambda: [_consumed(space, documents, clock) / documents * 1e6], facts)


def _consumed(space: BenchSpace, documents: int, clock: Callable[[], float]) -> float:
    """Seconds of a plain consumer."""
    settings = {"bootstrap.servers": space.place.bootstrap, "group.id": "raw", "fetch.wait.max.ms": 50}
    begun = clock()
    consumer = Consumer({**settings, "enable.partition.eof": True, "check.crcs": True, "log_level": 0})
    consumer.assign([TopicPartition(topics.state_topic(space.name), number, 0) for number in range(PARTITIONS)])
    read, open_ends = 0, PARTITIONS
    while open_ends:
        for message in consumer.consume(BLOCK, 0.1):
            error = message.error()
            if error is None:
                read += len(message.key() or b"") > 0
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ends -= 1
    consumer.close()
    seconds = clock() - begun
    assert read == documents, f"{read} of {documents} records were read"
    return seconds


def _case(name: str, clock: Callable[[], float]) -> Case:
    return Case(name, "us/document", partial(_recovering, clock), "raw consume", ratio_at_most(AIM), rounds=3)


CASES: Sequence[Case] = [_case("fresh", time.perf_counter), _case("processor", time.process_time)]
