"""A worker that has nothing takes partitions over: documents a second from the state topic into its stores, beside a raw consume of the same records.

Ours is what a worker does between its assignment and the first op: committed offsets and ends asked for, states read, checked against their groups, counted into the digests of
their scopes and written to RocksDB, then the other topics, which are empty here. The baseline reads the same records with the same settings
and does nothing with them; in `kept` it puts each, as it came, into a RocksDB of the same settings, which is the least that a worker can go on with. One
thread each; processor time stands beside.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from rocksdict import Rdict, WriteBatch

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import BenchSpace
from benchmarks.quiet import quiet
from benchmarks.states import merged
from driftlog_schemas import topics
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore, store_options
from driftlog_streams.faust_driver.recovery import ChangelogRecovery
from driftlog_streams.process.worker import spare_the_collector

PARTITIONS = 4
QUICK, USUAL, LARGE = 2_000, 200_000, 1_000_000
"""Documents."""
BLOCK = 10_000
AIM = 2.0
Clock: TypeAlias = "Callable[[], float]"
"""Seconds: of the clock on the wall, or of the processor."""

shared = cluster.servers


Baseline: TypeAlias = "Callable[[BenchSpace, int, Path, Clock], float]"
"""Seconds for so many documents of a space; the folder is for what is kept."""


@contextmanager
def _recovering(clock: Clock, baseline: Baseline, ground: Ground) -> Iterator[Sides]:
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
    yield Sides(ours, lambda: [baseline(space, documents, next(folders), clock) / documents * 1e6], facts)


def _consumed(space: BenchSpace, documents: int, folder: Path, clock: Clock) -> float:
    """A plain consumer that keeps nothing."""
    begun = clock()
    read = sum(len(message.key() or b"") > 0 for messages in _blocks(space) for message in messages)
    seconds = clock() - begun
    assert read == documents, f"{read} of {documents} records were read"
    return seconds


def _kept(space: BenchSpace, documents: int, folder: Path, clock: Clock) -> float:
    """A plain consumer that puts each record into a RocksDB, a batch for each block."""
    with closing(Rdict(str(folder), options=store_options())) as store:
        begun, read = clock(), 0
        for messages in _blocks(space):
            batch = WriteBatch(raw_mode=True)
            for message in messages:
                batch.put(message.key(), message.value())
            store.write(batch)
            read += len(messages)
        seconds = clock() - begun
    assert read == documents, f"{read} of {documents} records were read"
    return seconds


def _blocks(space: BenchSpace) -> Iterator[list[Message]]:
    """All of the state topic, as the client gives it."""
    settings = {"bootstrap.servers": space.place.bootstrap, "group.id": "raw", "fetch.wait.max.ms": 50}
    consumer = Consumer({**settings, "enable.partition.eof": True, "check.crcs": True, "log_level": 0})
    consumer.assign([TopicPartition(topics.state_topic(space.name), number, 0) for number in range(PARTITIONS)])
    open_ends = PARTITIONS
    with closing(consumer):
        while open_ends:
            messages = consumer.consume(BLOCK, 0.1)
            errors = [error for message in messages if (error := message.error()) is not None]
            open_ends -= sum(error.code() == KafkaError._PARTITION_EOF for error in errors)
            yield [message for message in messages if message.error() is None]


def _case(name: str, clock: Clock, baseline: Baseline, told: str) -> Case:
    return Case(name, "us/document", partial(_recovering, clock, baseline), told, ratio_at_most(AIM), rounds=3)


CASES: Sequence[Case] = [
    _case("fresh", time.perf_counter, _consumed, "raw consume"),
    _case("processor", time.process_time, _consumed, "raw consume"),
    _case("kept", time.process_time, _kept, "raw consume that keeps"),
]
