"""Groups of states that nobody has ended.

Edges apply what they have read when it makes a consistent cut (`groups.Cut`). A late write of an expelled worker, or the torn end of a
dead one's last flight, may be the last record of a partition and end no group: then every edge there, and every strong read, would wait for
the partition's next group, which may be days away. So its owner follows the marks of what it did not publish itself, and where they leave a
group open it publishes one of the documents once more, as a group of its own: once it has merged as far as that group's number says.

A stranger may write a number that no op record has. Nobody can merge as far as that; so where a number is further than the owner has merged, it is
*doubted*: the owner asks where the log ends and merges up to there. If the number is still beyond that, a group of the owner's ends what is before it as well
(who reads asks, too). So it is where the number ended its own group: whoever applied it believed to have read further than there is.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable

from driftlog_schemas import groups
from driftlog_streams.core.changelog_record import ChangelogRecord

MAX_KEYS = 16
"""So many of its documents are remembered: one that can be published again is enough."""


class Tail:
    """The end of a state partition: the records since the last consistent cut."""

    def __init__(self) -> None:
        self._cut = groups.Cut()
        self._doubted = -1
        self.end = -1
        """Where the log of ops ended when its number was doubted; -1 while nobody has asked."""
        self.start = -1
        """The offset of the first of them."""
        self.keys: deque[bytes] = deque(maxlen=MAX_KEYS)

    @property
    def open(self) -> bool:
        return self.unended or self._doubted >= 0

    @property
    def unended(self) -> bool:
        """Does it wait for the end of a group?"""
        return self._cut.open

    @property
    def number(self) -> int:
        """What a group's end must reach."""
        return max(self._cut.highest, self._doubted)

    def take(self, record: ChangelogRecord, mark: groups.GroupMark, merged_to: int = sys.maxsize) -> int:
        """The next record and its mark, where the owner has merged as far as that; the offset at which the cut begins that it belongs to."""
        if not self.open:
            self.start = record.offset
            self.keys.clear()
        self.keys.append(record.key)
        self._cut.take(mark)
        if mark.number > merged_to:
            self._doubted, self.end = max(self._doubted, mark.number), -1
        return self.start

    def more(self, keys: Iterable[bytes]) -> None:
        """The next records, which bear what the last one bore and end nothing."""
        self.keys.extend(keys)


class OpenGroups:
    """The tails of the owned partitions that are open."""

    def __init__(self) -> None:
        self._tails: dict[int, Tail] = {}
        self._ended: dict[int, tuple[int, int]] = {}
        """Offset and number of the last group of ours."""

    def own(self, partition: int, tail: Tail) -> None:
        """A partition as it was recovered."""
        self._keep(partition, tail)

    def forget(self) -> None:
        """Own nothing any more."""
        self._tails.clear()
        self._ended.clear()

    def read(self, partition: int, records: Iterable[ChangelogRecord], merged_to: int) -> None:
        """Records that stand there and are not all ours; we have merged as far as that."""
        tail = self._tails.get(partition) or Tail()
        last = -1
        for record in records:
            tail.take(record, groups.parse(record.headers), merged_to)
            last = record.offset
        self._keep(partition, tail)
        offset, number = self._ended.get(partition, (-1, -1))
        if offset > last:
            self._end(partition, number)

    def published(self, partition: int, last: int, number: int) -> None:
        """A group of ours ends at offset `last`."""
        self._ended[partition] = last, number
        self._end(partition, number)

    def cleared(self, partition: int) -> None:
        """There is no doubt any more, or nothing that could be reached."""
        self._tails.pop(partition, None)

    def _keep(self, partition: int, tail: Tail) -> None:
        if tail.open:
            self._tails[partition] = tail
        else:
            self._tails.pop(partition, None)

    def _end(self, partition: int, number: int) -> None:
        tail = self._tails.get(partition)
        if tail is not None and number >= tail.number:
            del self._tails[partition]

    def start(self, partition: int) -> int | None:
        """Where the open group begins, if there is one."""
        tail = self._tails.get(partition)
        return None if tail is None else tail.start

    def waiting(self) -> list[tuple[int, Tail]]:
        """Those that wait for an end of ours."""
        return list(self._tails.items())
