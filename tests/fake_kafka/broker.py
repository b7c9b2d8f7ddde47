"""A cluster in memory: partitions with holes, a leader that may fall before its followers have heard, commits of groups.

What is kept as in Kafka is what a rim can get wrong. Offsets are never given twice. A record that was acknowledged by the leader
alone (acks=1) is gone when the leader falls. An acknowledgement may be lost on its way back, and whoever sends again
without idempotence has the record twice. Compaction leaves holes and moves neither end; retention moves the beginning. Time passes only by
hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import KafkaError

START_MS = 1_790_000_000_000

Headers = Sequence[tuple[str, bytes | None]]


UNREADABLE = "\udcff"
"""As the name of a header: bytes that are no text."""


class Stored(NamedTuple):
    """One record in a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    control: bool = False
    """Of the broker itself: the end of a transaction. Clients pass it over."""

    @property
    def readable(self) -> bool:
        """Can a client make text of its headers' names?"""
        return all(name.isprintable() for name, _ in self.headers)


@dataclass
class Partition:
    """The records of one partition, from `low` to before `end`; `safe` is how far the followers are.

    `opened` is where a transaction begins that nobody has ended.
    """

    records: list[Stored] = field(default_factory=list)
    end: int = 0
    low: int = 0
    safe: int = 0
    opened: int | None = None
    seen: set[tuple[int, int]] = field(default_factory=set)
    """(producer, sequence) of what idempotent producers have appended"""


class Broker:
    """Shared by the clients of one test. Its lock is the one of all of them."""

    def __init__(self) -> None:
        self.moved = threading.Condition()
        self.up = True
        """Does it answer?"""
        self.silent = False
        """Does it keep questions waiting? (a frozen broker)"""
        self.refusing: dict[str, int] = {}
        """topic -> the error code with which records for it are refused"""
        self.lost_acks = 0
        """How many of the next acknowledgements do not come back"""
        self.now_ms = START_MS
        self.topic_ids: dict[str, str] = {}
        """topic -> which life of it this is"""
        self.spread = range(10)
        """The partitions of every topic, as it describes them."""
        self.missing: set[str] = set()
        """Topics that are not there."""
        self.settings: dict[str, str] = {}
        """of every topic"""
        self.committed: dict[tuple[str, str, int], int] = {}
        """(group, topic, partition) -> position"""
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._senders: list[Callable[[], None]] = []

    def partition(self, topic: str, partition: int = 0) -> Partition:
        return self._partitions.setdefault((topic, partition), Partition())

    def new_producer(self, send: Callable[[], None]) -> int:
        """Its number; `send` is called whenever what it has queued may go out, or run out of time."""
        self._senders.append(send)
        return len(self._senders)

    # -- by the test's hand

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """A record from anybody, on all replicas."""
        with self.moved:
            return self.take(topic, partition, key, value, headers, replicated=True)

    def begin(self, topic: str, partition: int) -> None:
        """A transaction is open from here on."""
        with self.moved:
            self.partition(topic, partition).opened = self.partition(topic, partition).end

    def end(self, topic: str, partition: int) -> int:
        """It ends, well or not: that takes an offset."""
        with self.moved:
            log = self.partition(topic, partition)
            log.opened = None
            offset = self.take(topic, partition, None, None, (), replicated=True)
            log.records[-1] = log.records[-1]._replace(control=True)
            return offset

    def read(self, topic: str, partition: int = 0) -> list[Stored]:
        """What is there now, for a client."""
        return [record for record in self.log(topic, partition) if not record.control]

    def log(self, topic: str, partition: int = 0) -> list[Stored]:
        """The same with the broker's own."""
        with self.moved:
            return list(self.partition(topic, partition).records)

    def make_anew(self, topic: str) -> None:
        """Deleted, and made again."""
        with self.moved:
            for name, partition in list(self._partitions):
                if name == topic:
                    self._partitions[name, partition] = Partition()

    def remove(self, topic: str, partition: int, *offsets: int) -> None:
        """Compaction takes these records; beginning and end stay where they are."""
        with self.moved:
            log = self.partition(topic, partition)
            log.records = [r for r in log.records if r.offset not in offsets]

    def retain(self, topic: str, partition: int, offset: int) -> None:
        """Retention takes what is before `offset`: whoever asks for it is told that it is out of range."""
        with self.moved:
            log = self.partition(topic, partition)
            log.records = [r for r in log.records if r.offset >= offset]
            log.low = offset

    def fail_over(self) -> None:
        """The leader falls; a follower leads, with what it has."""
        with self.moved:
            for log in self._partitions.values():
                log.records = [r for r in log.records if r.offset < log.safe]
                log.end = log.safe

    def pass_seconds(self, seconds: float) -> None:
        """Time for timeouts to strike."""
        with self.moved:
            self.now_ms += int(seconds * 1000)
            self._moved()

    def set_up(self, up: bool) -> None:
        """The broker goes, or comes back."""
        with self.moved:
            self.up = up
            self._moved()

    def _moved(self) -> None:
        for send in self._senders:
            send()
        self.moved.notify_all()

    # -- by the clients, with the lock held

    def take(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        *,
        replicated: bool,
        sequence: tuple[int, int] | None = None,
    ) -> int:
        """Append a record; one that an idempotent producer sends again is there already."""
        log = self.partition(topic, partition)
        if sequence is not None:
            if sequence in log.seen:
                return log.end - 1
            log.seen.add(sequence)
        offset, log.end = log.end, log.end + 1
        log.records.append(Stored(offset, key, value, tuple(headers), self.now_ms))
        if replicated:
            log.safe = log.end
        self.moved.notify_all()
        return offset

    def refusal(self, topic: str) -> KafkaError | None:
        code = self.refusing.get(topic)
        return None if code is None else KafkaError(code)
