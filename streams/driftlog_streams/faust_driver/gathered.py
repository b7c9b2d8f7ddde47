"""How much is merged and has not left with a flight, over all partitions.

It is asked after every record, so it is kept by differences: nobody walks over hundreds of partitions to learn what one record has changed.
"""

from __future__ import annotations

from collections.abc import Collection

from faust.types import TP

from driftlog_streams.core.work import PartitionWork


class Gathered:
    """Sums over the work of the partitions that were looked at since the last flight left."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, int, int]] = {}
        self.read: set[TP] = set()
        """Partitions of which records were merged."""
        self.dirty = self.sources = self.size = 0

    @property
    def partitions(self) -> Collection[int]:
        """Those whose work may not be empty."""
        return self._seen.keys()

    def look(self, work: PartitionWork, read: TP | None = None) -> None:
        """The work of a partition has changed; `read` says that a record of it was merged."""
        dirty, sources, size = self._seen.get(work.partition, (0, 0, 0))
        now = (len(work.dirty), len(work.merged), work.size)
        self._seen[work.partition] = now
        self.dirty += now[0] - dirty
        self.sources += now[1] - sources
        self.size += now[2] - size
        if read is not None:
            self.read.add(read)

    def left(self) -> None:
        """All of it has left, or is forgotten."""
        self._seen.clear()
        self.read.clear()
        self.dirty = self.sources = self.size = 0
