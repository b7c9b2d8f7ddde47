"""How far a partition was at an earlier time: the end of its op log then, and the newest whole group that a reader of its states had.

Times are the broker's, so a worker's clock that is ahead makes nobody away. The newest append time that is found anywhere is *now*: in the op
logs that are asked about, and among the heartbeats, for an op log in which nobody writes tells no time.
Blocking; not to be used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ListOffsetsResultInfo, OffsetSpec

from driftlog_schemas import groups
from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.topics import HEARTBEATS, SpaceTopics
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.offsets import offsets

FIRST_LOOK = 256
"""So many offsets of the state topic before that time are read at first; twice as many each time that compaction has left no group there."""


class PastReader:
    """Of one space."""

    def __init__(self, kafka: KafkaSettings | str, topics: SpaceTopics, asking: AskingClient | None = None) -> None:
        self._asking = asking or AskingClient(kafka)
        self._reader = ChangelogReader(kafka, self._asking)
        self._ops, self._states = topics.ops, topics.state

    def now(self, partitions: Iterable[int], *, heartbeats: bool) -> int:
        """The broker's time, as far as records tell it; -1 for none. `heartbeats` says whether those have it. Raises KafkaException."""
        places = [TopicPartition(self._ops, partition) for partition in partitions]
        if heartbeats:
            places.append(TopicPartition(HEARTBEATS, 0))
        newest: Any = OffsetSpec.max_timestamp  # untyped there
        return max([at.timestamp for at in self._asked(places, newest()).values()], default=-1)

    def floors(self, partitions: Iterable[int], then_ms: int) -> dict[int, int]:
        """Per partition the newest op offset that whoever was in step then had read. Raises KafkaException, `RecoveryFailed`."""
        places = [TopicPartition(self._ops, partition) for partition in partitions]
        then: Any = OffsetSpec.for_timestamp
        states = [TopicPartition(self._states, place.partition) for place in places]
        ends = self._asked([*places, *states], then(then_ms))
        latest: Any = OffsetSpec.latest
        present = self._asked([*places, *states], latest())
        found: dict[int, int] = {}
        for place in places:
            ops, state = (
                ends[key].offset if ends[key].offset >= 0 else present[key].offset
                for key in ((self._ops, place.partition), (self._states, place.partition))
            )
            group = self._group_before(place.partition, state)
            if group >= 0:
                found[place.partition] = min(ops - 1, group)
        return found

    def _asked(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], ListOffsetsResultInfo]:
        return self._asking.ask(lambda admin: offsets(admin, dict.fromkeys(places, spec)))

    def _group_before(self, partition: int, end: int) -> int:
        """The newest group that ends below this offset of the state topic; -1 for none."""
        size = FIRST_LOOK
        while end > 0:
            start = max(0, end - size)
            marks = [groups.parse(r.headers) for r in self._reader.records(self._states, partition, range(start, end))]
            whole = [mark.number for mark in marks if mark.last and mark.number >= 0]
            if whole or not start:
                return max(whole, default=-1)
            size *= 2
        return -1
