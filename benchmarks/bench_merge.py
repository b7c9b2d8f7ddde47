"""Merged ops a second of one worker process, beside a naive Faust agent that does the same job.

Both sides run as processes of their own, on one broker, and get the same records. A round feeds prepared records and ends when
each of them is answered: its receipt is in the log. A worker writes that with or after the states; the naive agent does not, so
there the changelog's records are counted too. The clock runs from the first answer to the last, so neither the start nor the making of records counts. The naive side gets fewer records a round, because it
takes longer; it goes through the same stream, so it meets the smaller documents.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks import cluster, naive_faust
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_least
from benchmarks.cluster import BenchSpace, Cluster
from driftlog_schemas import topics
from tests.load.workers import CHECKOUT, WorkerProcess
from tests.load.workload import LoadRecord, Shape, Workload

PARTITIONS = 4
DEVICES = 10
ROUNDS = 3
ROUND_SECONDS = 180.0
STOP_SECONDS = 20.0
OURS = {1: 15_000, 10: 80_000, 100: 160_000, 500: 160_000}
"""Ops a round, by ops a batch."""
NAIVE = {1: 6_000, 10: 12_000, 100: 16_000, 500: 16_000}
QUICK = 8
"""Divides them."""
AIM = 30.0

shared = cluster.servers


class _Answers:
    """How many records are answered, and their effects published: `each` is how many of a topic's records one of ours makes."""

    def __init__(self, bootstrap: str, each: Mapping[str, int]) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._each = each

    def count(self) -> int:
        return min(self._end(topic) // number for topic, number in self._each.items())

    def _end(self, topic: str) -> int:
        partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        found = self._admin.list_offsets(dict.fromkeys(partitions, latest), request_timeout=10)
        return sum(future.result(10).offset for future in found.values())


class _Side:
    """One of the two: feeds records to its topic and times the answers."""

    def __init__(
        self, bootstrap: str, ops_topic: str, answers: Mapping[str, int], records: Iterator[LoadRecord], count: int
    ) -> None:
        self._topic = ops_topic
        self._answers = _Answers(bootstrap, answers)
        self._records = records
        self._count = count
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000, "log_level": 0}
        )
        self.tail: Callable[[], str] = str
        """The end of its log, for when it does not answer."""

    def round(self) -> Samples:
        """Ops a second of the next records."""
        records = list(islice(self._records, self._count))
        before = self._answers.count()
        for record in records:
            self._producer.produce(self._topic, record.value, record.key, record.partition)
        first, last, answered = self._watch(before, len(records))
        return [(len(records) - answered) * records[0].ops / (last - first)]

    def _watch(self, before: int, records: int) -> tuple[float, float, int]:
        """When the first answers were there, when the last, and how many came first."""
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
            time.sleep(0.05)
        if answered == records:  # all at once, as in a tiny round: then the feeding counts too
            return begun, now, 0
        return first, now, answered


class _NaiveProcess:
    """The naive agent as a process."""

    def __init__(self, space: BenchSpace) -> None:
        place = space.place
        self._log = place.folder / "naive.log"
        self._command = [
            *(sys.executable, "-m", "benchmarks.naive_faust", place.bootstrap, place.registry_url, place.space),
            *(str(place.partitions), str(place.folder / "naive")),
        ]

    def __enter__(self) -> _NaiveProcess:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(self._command, cwd=CHECKOUT, stdout=out, stderr=out, env={**os.environ})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        return "\n" + "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def _merging(keys: int, batch: int, ground: Ground) -> Iterator[Sides]:
    cluster_: Cluster = ground.shared
    space = cluster_.space(cluster.fresh_name("merge"), ground.folder, partitions=PARTITIONS, devices=DEVICES)
    source, answers, disputes, changelog = naive_faust.names(space.name)
    cluster_.topic(source, PARTITIONS, message_timestamp_type="LogAppendTime")
    cluster_.topic(answers, PARTITIONS)
    cluster_.topic(disputes, PARTITIONS)
    cluster_.topic(changelog, PARTITIONS, cleanup_policy="compact")
    share = QUICK if ground.quick else 1
    ours_count, naive_count = (max(1, sizes[batch] // batch // share) for sizes in (OURS, NAIVE))
    ours = _Side(
        space.place.bootstrap,
        topics.ops_topic(space.name),
        {topics.receipts_topic(space.name): 1},
        _stream(space, keys, batch),
        ours_count,
    )
    naive = _Side(
        space.place.bootstrap, source, {answers: 1, changelog: batch}, _stream(space, keys, batch), naive_count
    )
    worker = WorkerProcess(space.place, "0").start()
    ours.tail = worker.tail
    try:
        with _NaiveProcess(space) as process:
            naive.tail = process.tail
            yield Sides(
                ours.round,
                naive.round,
                {"ops a round": ours_count * batch, "naive ops a round": naive_count * batch, "partitions": PARTITIONS},
            )
    finally:
        worker.stop()


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


CASES: Sequence[Case] = [_case(keys, batch) for keys in (5_000, 200_000) for batch in (1, 10, 100, 500)]
