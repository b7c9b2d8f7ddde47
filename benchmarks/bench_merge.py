"""Merged ops a second of one worker process, beside a naive Faust agent that does the same job; and its processor time an op, beside a plain loop.

Both sides run as processes of their own, on one broker, and get the same records. A round feeds prepared records and ends when
each of them is answered: its receipt is in the log. A worker writes that with or after the states; the naive agent does not, so
there the changelog's records are counted too. The clock runs from the first answer to the last, so neither the start nor the making of records counts. The naive side gets fewer records a round, because it
takes longer; it goes through the same stream, so it meets the smaller documents.

The cases `processor/...` count the processor time of the whole worker process, clients and their threads included, beside that of a loop
(`plain_loop`) that merges the same ops and promises next to nothing. It says what a core is worth on any machine, however busy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks import cluster, naive_faust
from benchmarks.case import Case, Ground, Samples, Sides, Skipped, ratio_at_least, ratio_at_most
from benchmarks.cluster import BenchSpace, Cluster
from benchmarks.peers import PARTITIONS, ROUND_SECONDS, NaiveProcess, PlainProcess, PlainTopic, QuixProcess
from benchmarks.processor_time import cpu_seconds
from driftlog_schemas import topics
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from tests.load.workers import WorkerProcess
from tests.load.workload import LoadRecord, Shape, Workload

DEVICES = 10
ROUNDS = 3
OURS = {1: 15_000, 10: 80_000, 100: 160_000, 500: 160_000}
"""Ops a round, by ops a batch."""
NAIVE = {1: 6_000, 10: 12_000, 100: 16_000, 500: 16_000}
QUICK = 8
"""Divides them."""
AIM = 30.0

shared = cluster.servers


class _Answers:
    """How many batches are answered, and their effects published: what the chain rows say, and how many records of `changelog` there are, of
    which each batch makes so many."""

    def __init__(self, bootstrap: str, receipts: str, changelog: tuple[str, int] | None, ids: SchemaIds) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._changelog = changelog
        settings = {"bootstrap.servers": bootstrap, "group.id": receipts, "enable.auto.commit": False, "log_level": 0}
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(receipts, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        self._codecs = RecordCodecs(ids)
        self._last: dict[tuple[str, int], int] = {}

    def count(self) -> int:
        for message in self._consumer.consume(1_000, 0):
            value = message.value()
            if message.error() is None and value is not None:
                row = self._codecs.decode_chain_row(value)
                self._last[row.replica, row.partition] = row.last
        answered = sum(self._last.values())
        if self._changelog is None:
            return answered
        topic, each = self._changelog
        return min(answered, self._end(topic) // each)

    def _end(self, topic: str) -> int:
        partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        found = self._admin.list_offsets(dict.fromkeys(partitions, latest), request_timeout=10)
        return sum(future.result(10).offset for future in found.values())

    def close(self) -> None:
        self._consumer.close()


class _Side:
    """One of the two: feeds records to its topic and times the answers."""

    def __init__(
        self,
        space: BenchSpace,
        ops_topic: str,
        receipts: str,
        changelog: tuple[str, int] | None,
        records: Iterator[LoadRecord],
        count: int,
    ) -> None:
        bootstrap = space.place.bootstrap
        self._topic = ops_topic
        self._answers = _Answers(bootstrap, receipts, changelog, space.ids)
        self._records = records
        self._count = count
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000, "log_level": 0}
        )
        self.tail: Callable[[], str] = str
        """The end of its log, for when it does not answer."""

    def round(self) -> Samples:
        """Ops a second of the next records."""
        first, last, answered, records = self._merged()
        return [(len(records) - answered) * records[0].ops / (last - first)]

    def processor(self, pids: Callable[[], Sequence[int]]) -> Samples:
        """Microseconds of processor time that these processes took for each op of the next records."""
        before = cpu_seconds(pids())
        _, _, _, records = self._merged()
        return [(cpu_seconds(pids()) - before) / sum(record.ops for record in records) * 1e6]

    def _merged(self) -> tuple[float, float, int, list[LoadRecord]]:
        """Feed the next records until all are answered: when the first answers were there, when the last, and how many came first."""
        records = list(islice(self._records, self._count))
        before = self._answers.count()
        for record in records:
            self._producer.produce(self._topic, record.value, record.key, record.partition)
        return *self._watch(before, len(records)), records

    def _watch(self, before: int, records: int) -> tuple[float, float, int]:
        begun = time.monotonic()
        first, answered, count = 0.0, 0, 0
        while count < records:
            self._producer.poll(0)
            count = self._answers.count() - before
            now = time.monotonic()
            if count and not first:
                first, answered = now, count
            if now - begun > ROUND_SECONDS:
                raise TimeoutError(f"{count} of {records} records answered in {ROUND_SECONDS:.0f} s{self.tail()}")
            time.sleep(0.02)
        if answered == records:  # all at once, as in a tiny round: then the feeding counts too
            return begun, now, 0
        return first, now, answered

    def close(self) -> None:
        self._answers.close()


@contextmanager
def _worker_of(keys: int, batch: int, count: int, ground: Ground) -> Iterator[tuple[BenchSpace, WorkerProcess, _Side]]:
    servers: Cluster = ground.shared
    space = servers.space(cluster.fresh_name("merge"), ground.folder, partitions=PARTITIONS, devices=DEVICES)
    names = topics.ops_topic(space.name), topics.receipts_topic(space.name)
    ours = _Side(space, *names, None, _stream(space, keys, batch), count)
    worker = WorkerProcess(space.place, "0").start()
    ours.tail = worker.tail
    try:
        yield space, worker, ours
    finally:
        ours.close()
        worker.stop()


def _counts(sizes: Mapping[int, int], batch: int, ground: Ground) -> int:
    return max(1, sizes[batch] // batch // (QUICK if ground.quick else 1))


@contextmanager
def _merging(keys: int, batch: int, ground: Ground) -> Iterator[Sides]:
    servers: Cluster = ground.shared
    count, naive_count = _counts(OURS, batch, ground), _counts(NAIVE, batch, ground)
    with _worker_of(keys, batch, count, ground) as (space, _, ours):
        source, answers, disputes, changelog = naive_faust.names(space.name)
        servers.topic(source, PARTITIONS, message_timestamp_type="LogAppendTime")
        servers.topic(answers, PARTITIONS)
        servers.topic(disputes, PARTITIONS)
        servers.topic(changelog, PARTITIONS, cleanup_policy="compact")
        naive = _Side(space, source, answers, (changelog, batch), _stream(space, keys, batch), naive_count)
        try:
            with NaiveProcess(space) as process:
                naive.tail = process.tail
                facts = {
                    "ops a round": count * batch, "naive ops a round": naive_count * batch, "partitions": PARTITIONS,
                }  # fmt: skip
                yield Sides(ours.round, naive.round, facts)
        finally:
            naive.close()


@contextmanager
def _processor(keys: int, batch: int, quix: bool, ground: Ground) -> Iterator[Sides]:
    count = _counts(OURS, batch, ground)
    with _worker_of(keys, batch, count, ground) as (space, worker, ours):
        if not cpu_seconds([os.getpid()]):  # of ourselves: a worker that has just begun may have taken none yet
            raise Skipped("the processor time of another process is read from /proc")
        topic = PlainTopic(ground.shared, space, _stream(space, keys, batch), count)
        with QuixProcess(space, topic) if quix else PlainProcess(ground.shared, space, topic) as peer:
            yield Sides(lambda: ours.processor(worker.children), peer.processor, {"ops a round": count * batch})


def _stream(space: BenchSpace, keys: int, batch: int) -> Iterator[LoadRecord]:
    """What ten devices send that see each other's changes: nine ops in ten count, the rest names and tags, as in a shop."""
    shape = Shape(space.name, PARTITIONS, keys, ops_per_batch=batch, counters=0.9, looks=0.95)
    workload = Workload(shape, space.fleet, space.ids, start_ms=time.time_ns() // 1_000_000, keep=False)
    return workload.records(sys.maxsize)


def _case(keys: int, batch: int) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_merging, keys, batch)
    return Case(
        f"keys={keys}/batch={batch}",
        "ops/s",
        opened,
        "naive Faust agent",
        ratio_at_least(AIM) if batch == 100 else None,
        rounds=ROUNDS,
    )


def _processor_case(keys: int, batch: int, aim: float | None, *, quix: bool = False) -> Case:
    return Case(
        f"{'quix' if quix else 'processor'}/keys={keys}/batch={batch}",
        "us/op",
        partial(_processor, keys, batch, quix),
        "Quix Streams" if quix else "plain loop",
        None if aim is None else ratio_at_most(aim),
        rounds=ROUNDS,
    )


CASES: Sequence[Case] = [
    *(_case(keys, batch) for keys in (5_000, 200_000) for batch in (1, 10, 100, 500)),
    _processor_case(5_000, 100, 2.6),
    _processor_case(200_000, 100, 1.4),
    _processor_case(5_000, 1, None),
    _processor_case(5_000, 100, 1.0, quix=True),
    _processor_case(200_000, 100, 1.0, quix=True),
]
