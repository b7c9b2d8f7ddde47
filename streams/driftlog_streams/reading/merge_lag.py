"""How far the workers are behind the op logs: what their group has confirmed, where the logs end, and since when the first record waits.

Blocking; not to be used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.group_commits import committed
from driftlog_streams.reading.plain_reader import plain_reader


class Lag(NamedTuple):
    """Of one partition."""

    end: int
    """Offset of the op record that comes next."""
    merged: int | None
    """Offset of the first that no worker has confirmed; None where none ever confirmed anything."""
    waits_since_ms: int | None
    """When that one was appended; None where nothing waits, or nobody can tell."""

    @property
    def records(self) -> int | None:
        """How many wait; None where that is not known."""
        return None if self.merged is None else max(0, self.end - self.merged)

    def seconds(self, now_ms: int) -> float | None:
        """For how long the first has waited; None where that is not known."""
        if self.records == 0:
            return 0.0
        return None if self.waits_since_ms is None else max(0.0, (now_ms - self.waits_since_ms) / 1000)


class LagReader:
    """See the module."""

    def __init__(self, kafka: KafkaSettings | str, merged: Callable[[str], int] = lambda space: 1) -> None:
        """`merged` says which generation of a space the workers merge."""
        self._merged = merged
        self._kafka = kafka
        self._askers: dict[str, Consumer] = {}
        """Group -> a consumer that asks for its commits, and never joins it."""
        self._reader = ChangelogReader(kafka)

    def look(self, space: str, partitions: Iterable[int]) -> Mapping[int, Lag]:
        """Each partition of a space. Raises KafkaException, `RecoveryFailed`."""
        topic = topics.ops_topic(space)
        places = [TopicPartition(topic, partition) for partition in partitions]
        group = topics.SpaceTopics(space, self._merged(space)).group
        asker = self._askers.get(group)
        if asker is None:
            asker = self._askers[group] = plain_reader(self._kafka, group)
        confirmed = committed(asker, places)
        ends = self._reader.ends([(topic, place.partition) for place in places])
        return {
            place.partition: self._lag(topic, place.partition, confirmed.get(place.partition, -1), ends)
            for place in places
        }

    def _lag(self, topic: str, partition: int, confirmed: int, ends: Mapping[tuple[str, int], int]) -> Lag:
        end, merged = ends[topic, partition], confirmed if confirmed >= 0 else None
        if merged is None and end == 0:
            merged = 0  # nothing was ever written, so nothing waits
        if merged is not None and merged >= end:
            return Lag(end, merged, None)
        first = self._reader.records(topic, partition, range(merged or 0, (merged or 0) + 1))
        since = first[0].append_ms if first and first[0].append_ms > 0 else None
        return Lag(end, merged, since)
