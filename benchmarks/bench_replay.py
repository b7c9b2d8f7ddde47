"""Ops a second that `driftlog replay` merges anew from an op topic on a real broker, beside a plain loop over the same ops.

Both read, merge and store everything from the first record on, one partition after the other, in one thread, and publish nothing. The baseline (`plain_loop`) promises nothing of what
Driftlog promises: no signatures, chains, gaps, conflicts or typed rows. The comparison with the running model is not in it: that is a second reading, of the
state topic, and costs what `recovery` costs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from confluent_kafka import Producer
from rocksdict import WriteBatch

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_least, ratio_at_most
from benchmarks.cluster import BenchSpace
from benchmarks.enrolled import Enrolled
from benchmarks.plain_loop import GROUP_RECORDS, PlainMerge, open_store, plain_record
from benchmarks.quiet import quiet
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.process.worker import spare_the_collector
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.replay import Replay
from tests.load.workload import Shape, Workload

PARTITIONS = 4
DEVICES = 10
KEYS = 5_000
BATCH = 100
QUICK, USUAL, LARGE = 4_000, 100_000, 1_000_000
"""Ops."""
AIM = 2.6
"""Times the plain loop: the merge is the worker's, and this is its aim (`core`)."""


@contextmanager
def _replaying(clock: Callable[[], float], rate: bool, ground: Ground) -> Iterator[Sides]:
    quiet()
    ops = ground.size(QUICK, USUAL, LARGE)
    with cluster.servers(ground) as servers:
        space = servers.space(cluster.fresh_name("replayed"), ground.folder, partitions=PARTITIONS, devices=DEVICES)
        plain_topic = servers.topic(f"plain-{space.name}-ops", PARTITIONS)
        ground.say(f"writing {ops} ops")
        _fill(space, plain_topic, ops)
        spare_the_collector()
        rules = SpaceRules(space.contract.spaces[space.name], space.ids)
        devices, numbers = Enrolled(space.fleet.registry()), itertools.count()

        def sample(seconds: float) -> Samples:
            return [ops / seconds if rate else seconds / ops * 1e6]

        def ours() -> Samples:
            folder = ground.folder / f"replay-{next(numbers)}"
            with closing(Logs(servers.bootstrap)) as logs, closing(WorkerStore(folder)) as stores:
                replay, begun = Replay(rules, devices, logs, stores, limit=0), clock()
                reports = [_one(replay, number) for number in range(PARTITIONS)]
                seconds = clock() - begun
            assert sum(reports) == ops, f"{sum(reports)} of {ops} ops are merged"
            return sample(seconds)

        def baseline() -> Samples:
            with (
                closing(Logs(servers.bootstrap)) as logs,
                closing(open_store(ground.folder / f"plain-{next(numbers)}")) as store,
            ):
                merge, begun = PlainMerge(store), clock()
                for number in range(PARTITIONS):
                    for block in logs.blocks(plain_topic, number):
                        for first in range(0, len(block), GROUP_RECORDS):
                            _merged(merge, store, (r.value or b"" for r in block[first : first + GROUP_RECORDS]))
                return sample(clock() - begun)

        yield Sides(ours, baseline, {"ops": ops, "documents": KEYS, "ops a batch": BATCH})


def _fill(space: BenchSpace, plain_topic: str, ops: int) -> None:
    """The same ops in both topics: signed batches, and what the plain loop reads of them."""
    shape = Shape(space.name, PARTITIONS, KEYS, ops_per_batch=BATCH, counters=0.9, looks=0.95)
    workload = Workload(shape, space.fleet, space.ids, start_ms=time.time_ns() // 1_000_000, keep=False)
    opened = BatchCodec(space.ids).open
    producer = Producer(
        {"bootstrap.servers": space.place.bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    for record in workload.records(ops):
        producer.produce(topics.ops_topic(space.name), record.value, record.key, record.partition)
        producer.produce(plain_topic, plain_record(opened(record.value)), record.key, record.partition)
        producer.poll(0)
    assert producer.flush(60) == 0, "the broker takes all of it"


def _one(replay: Replay, partition: int) -> int:
    report = replay.replay(partition, None, lambda *_: None, compare=False, verdicts=False)
    return report.ops


def _merged(merge: PlainMerge, store: Any, values: Iterable[bytes]) -> None:
    for value in values:
        merge.take(value)
    batch = WriteBatch(raw_mode=True)
    for key, value in merge.group():
        batch.put(key, value)
    store.write(batch)


CASES: Sequence[Case] = [
    Case("ops", "ops/s", partial(_replaying, time.perf_counter, True), "plain loop", ratio_at_least(1 / AIM), rounds=3),
    Case(
        "processor", "us/op", partial(_replaying, time.process_time, False), "plain loop", ratio_at_most(AIM), rounds=3
    ),
]
