"""A Kafka in memory: partitions of records, append times from the simulated clock, compaction, committed offsets.

What is kept as in Kafka: offsets grow and are never given twice; compaction keeps the last record of each key, leaves everything
younger than the topic's minimum lag alone, never moves the end offset, and leaves holes; a reader that asks for a removed offset gets the
next one there is. `history` keeps what compaction removed, for the judge only: no node may read it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from driftlog_schemas.topics import Topic
from tests.simulation.scheduler import Scheduler

_offset = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Partition:
    """The records of one partition."""

    visible: list[LogRecord] = field(default_factory=list)
    history: list[LogRecord] = field(default_factory=list)
    begins: int = 0
    """The first offset that was not deleted."""

    @property
    def end(self) -> int:
        return len(self.history)


class SimulatedLog:
    """All topics of one world."""

    def __init__(self, scheduler: Scheduler, topics: Sequence[Topic]) -> None:
        self._scheduler = scheduler
        self._topics = {topic.name: topic for topic in topics}
        self._partitions = {topic.name: [Partition() for _ in range(topic.partitions)] for topic in topics}
        self._ids = {topic.name: topic.name for topic in topics}
        self._made = 0
        self._committed: dict[tuple[str, int], int] = {}
        self.grown: Callable[[LogRecord], None] = lambda record: None
        """Told of each new record, so that readers need not poll."""

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> LogRecord:
        """Take a record, at the simulated now."""
        log = self._partitions[topic][partition]
        record = LogRecord(topic, partition, log.end, self._scheduler.now, key, value, tuple(headers))
        log.history.append(record)
        log.visible.append(record)
        self._scheduler.note(f"log {topic}[{partition}]@{record.offset}")
        self.grown(record)
        return record

    def read(self, topic: str, partition: int, offset: int, limit: int) -> list[LogRecord]:
        """Up to `limit` records from `offset` on."""
        visible = self._partitions[topic][partition].visible
        start = bisect_left(visible, offset, key=_offset)
        return visible[start : start + limit]

    def holes(self, topic: str, partition: int, offset: int) -> bool:
        """Has compaction removed anything from `offset` on?"""
        log = self._partitions[topic][partition]
        return len(log.visible) - bisect_left(log.visible, offset, key=_offset) < log.end - offset

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will get."""
        return self._partitions[topic][partition].end

    def begins(self, topic: str, partition: int) -> int:
        """The offset at which reading can begin."""
        return self._partitions[topic][partition].begins

    def forget_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before an offset."""
        log = self._partitions[topic][partition]
        log.begins = max(log.begins, offset)
        log.visible = [record for record in log.visible if record.offset >= offset]

    def there(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of these topics that there are."""
        return {name: self._topics[name] for name in names if name in self._topics}

    def topic_id(self, topic: str) -> str:
        """Another one for each time that it was made."""
        return self._ids[topic]

    def make(self, topics: Iterable[Topic]) -> None:
        """Add topics, empty."""
        for topic in topics:
            assert topic.name not in self._topics, "it is there"
            self._topics[topic.name] = topic
            self._made += 1
            self._ids[topic.name] = f"topic {self._made}"
            self._partitions[topic.name] = [Partition() for _ in range(topic.partitions)]

    def remove(self, names: Iterable[str]) -> None:
        """Delete topics, with what a group had committed there."""
        for name in self.there(names):
            del self._topics[name], self._partitions[name]
            self._committed = {place: at for place, at in self._committed.items() if place[0] != name}

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(self._partitions[topic])

    def compact(self, topic: str) -> int:
        """Clean a compacted topic now; says how many records went."""
        settings = self._topics[topic].settings
        if settings.get("cleanup.policy") != "compact":
            return 0
        young = self._scheduler.now - int(settings.get("min.compaction.lag.ms", "0"))
        removed = 0
        for log in self._partitions[topic]:
            latest = {record.key: record.offset for record in log.visible}
            kept = [r for r in log.visible if r.timestamp_ms > young or latest[r.key] == r.offset]
            removed += len(log.visible) - len(kept)
            log.visible = kept
        if removed:
            self._scheduler.note(f"compact {topic}: {removed}")
        return removed

    def commit(self, topic: str, partition: int, offset: int) -> None:
        """Remember the merge group's position: the next offset to read."""
        self._committed[topic, partition] = offset

    def committed(self, topic: str, partition: int) -> int:
        """The merge group's position; 0 before the first commit."""
        return self._committed.get((topic, partition), 0)

    def history(self, topic: str, partition: int) -> Sequence[LogRecord]:
        """Everything ever appended. For the judge."""
        return self._partitions[topic][partition].history

    def latest(self, topic: str) -> dict[bytes, LogRecord]:
        """The last record of each key over all partitions. For the judge."""
        return {r.key or b"": r for log in self._partitions[topic] for r in log.history}
