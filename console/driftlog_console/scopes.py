"""Which scopes there are: those that have a document, by the keys of the state topics, of each generation that is or was in force. For a console that was
not told which ones to show.

Blocking, for a thread; each look reads on.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.changelog_reader import ChangelogReader

AT_ONCE = 20_000
"""So many offsets are read at a time."""
MOST = 10_000
"""More scopes than this one console does not hold; name those that it is for."""


class ScopesSeen:
    """See the module. `spaces` are names and their partitions."""

    def __init__(self, kafka: KafkaSettings, spaces: Mapping[str, int]) -> None:
        self._reader = ChangelogReader(kafka)
        self._next: dict[tuple[str, int], int] = {}
        self._found: set[str] = set()
        for space, partitions in spaces.items():
            self.read(space, 1, partitions)

    def read(self, space: str, generation: int, partitions: int) -> None:
        """This generation of a space, by its name on the wire, is in force: its keys count as well."""
        topic = SpaceTopics(space, generation).state
        for partition in range(partitions):
            self._next.setdefault((topic, partition), 0)

    def look(self) -> list[str]:
        """All that were met so far. Raises KafkaException, `RecoveryFailed`."""
        try:
            ends = self._reader.ends(self._next)
        except TimeoutError as error:
            raise RecoveryFailed("the broker does not answer", "see `driftlog doctor`") from error
        for (topic, partition), end in ends.items():
            start = self._next[topic, partition]
            if end < start:
                start = 0  # the topic was made anew
            while start < end:
                stop = min(start + AT_ONCE, end)
                for record in self._reader.records(topic, partition, range(start, stop)):
                    self._take(record.key)
                start = stop
            self._next[topic, partition] = end
        return sorted(self._found)

    def _take(self, key: bytes) -> None:
        if len(self._found) >= MOST:
            return
        try:
            self._found.add(parse_document_key(key).scope)
        except ValueError:
            return  # a digest, or a stranger's
