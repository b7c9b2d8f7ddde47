"""The peers of `bench_merge`, each a process that merges the same ops: a naive Faust agent, a plain loop, and Quix Streams where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice

from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka.admin import AdminClient

from benchmarks.case import Samples, Skipped
from benchmarks.cluster import BenchSpace, Cluster
from benchmarks.plain_loop import plain_record
from benchmarks.processor_time import cpu_seconds
from driftlog_schemas.batch_codec import BatchCodec
from tests.load.workers import CHECKOUT
from tests.load.workload import LoadRecord

PARTITIONS = 4
"""Of every topic that is merged."""
ROUND_SECONDS = 180.0
STOP_SECONDS = 20.0
QUIX = CHECKOUT / ".venv-quix" / "bin" / "python"


class NaiveProcess:
    """The naive agent as a process."""

    def __init__(self, space: BenchSpace) -> None:
        place = space.place
        self._log = place.folder / "naive.log"
        self._command = [
            *(sys.executable, "-m", "benchmarks.naive_faust", place.bootstrap, place.registry_url, place.space),
            *(str(place.partitions), str(place.folder / "naive")),
        ]

    def __enter__(self) -> NaiveProcess:
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


class PlainTopic:
    """Where the peers read the same ops, without what Driftlog puts around them."""

    def __init__(self, servers: Cluster, space: BenchSpace, records: Iterator[LoadRecord], count: int) -> None:
        self.name = servers.topic(f"plain-{space.name}-ops", PARTITIONS)
        self._open = BatchCodec(space.ids).open
        self._records = records
        self._count = count
        self._producer = Producer({"bootstrap.servers": space.place.bootstrap, "linger.ms": 5, "log_level": 0})

    def feed(self) -> tuple[int, int]:
        """The next records: how many, and of how many ops."""
        records = list(islice(self._records, self._count))
        for record in records:
            key = str(record.partition).encode()
            self._producer.produce(self.name, plain_record(self._open(record.value)), key, record.partition)
        self._producer.flush()
        return len(records), sum(record.ops for record in records)


class PlainProcess:
    """The plain loop as a process."""

    def __init__(self, servers: Cluster, space: BenchSpace, topic: PlainTopic) -> None:
        place = space.place
        changelog = servers.topic(f"plain-{space.name}-changelog", PARTITIONS, cleanup_policy="compact")
        self._command = [
            *(sys.executable, "-m", "benchmarks.plain_loop", place.bootstrap, topic.name, changelog),
            str(place.folder / "plain"),
        ]
        self._topic = topic

    def __enter__(self) -> PlainProcess:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=STOP_SECONDS)

    def processor(self) -> Samples:
        """Microseconds an op."""
        records, ops = self._topic.feed()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{records}\n")
        self._process.stdin.flush()
        return [float(self._process.stdout.readline()) / ops * 1e6]


class QuixProcess:
    """Quix Streams as a process, in its own environment."""

    def __init__(self, space: BenchSpace, topic: PlainTopic) -> None:
        if not QUIX.exists():
            raise Skipped("Quix Streams has an environment of its own: make quix")
        place = space.place
        self._command = [str(QUIX), "benchmarks/quix_loop.py", place.bootstrap, topic.name, str(place.folder / "quix")]
        self._admin = AdminClient({"bootstrap.servers": place.bootstrap, "log_level": 0})
        self._topic = topic
        self._fed = 0

    def __enter__(self) -> QuixProcess:
        self._process = subprocess.Popen(self._command, cwd=CHECKOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def processor(self) -> Samples:
        """Microseconds an op."""
        begun, before = time.monotonic(), cpu_seconds([self._process.pid])
        records, ops = self._topic.feed()
        self._fed += records
        while self._committed() < self._fed:
            if time.monotonic() - begun > ROUND_SECONDS or self._process.poll() is not None:
                raise TimeoutError(f"{self._committed()} of {self._fed} records are committed")
            time.sleep(0.1)
        return [(cpu_seconds([self._process.pid]) - before) / ops * 1e6]

    def _committed(self) -> int:
        asked = ConsumerGroupTopicPartitions(self._topic.name)
        (found,) = self._admin.list_consumer_group_offsets([asked]).values()
        return sum(max(0, at.offset) for at in found.result(10).topic_partitions)
