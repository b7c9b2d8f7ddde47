"""Where the entries of each class and partition begin, at the earliest.

In a log-structured store what was deleted stands in the way of a scan until it is compacted away, and until it is written it stands in
the overlay as well. A long queue is taken from its front: a look from the beginning would pass over all that has left. A front is never
above an entry that waits; it may be below the first, and each look that finds the first moves it there.
"""

from __future__ import annotations

from collections.abc import Iterator

from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import keys


class Fronts:
    """By (space, class) and partition the lsn before which nothing waits. A partition that has none has no entry."""

    def __init__(self) -> None:
        self._lsns: dict[tuple[str, int], dict[int, int]] = {}

    def clear(self) -> None:
        """Nothing waits."""
        self._lsns.clear()

    def come(self, key: bytes) -> None:
        """This entry waits."""
        space, urgency, partition, lsn = keys.parse_outbox(key)
        fronts = self._lsns.setdefault((space, urgency), {})
        if lsn < fronts.get(partition, lsn + 1):
            fronts[partition] = lsn

    def staged(self, writes: Writes) -> None:
        """These writes begin to wait, with the entries among them."""
        for (family, key), value in writes.items():
            if family is Family.OUTBOX and value is not None:
                self.come(key)

    def begins(self, space: str, urgency: int, partition: int) -> bytes | None:
        """The key after which to look; None where nothing waits."""
        front = self._lsns.get((space, urgency), {}).get(partition)
        return None if front is None else keys.outbox_key(space, urgency, partition, front - 1)

    def found(self, space: str, urgency: int, partition: int, lsn: int | None) -> None:
        """A look from its front found this first, or nothing."""
        if lsn is not None:
            self._lsns[space, urgency][partition] = lsn
        else:
            del self._lsns[space, urgency][partition]

    def after(self, space: str, urgency: int, partition: int) -> Iterator[int]:
        """The partitions after this one in which something may wait, in order."""
        return iter(sorted(other for other in self._lsns.get((space, urgency), ()) if other > partition))
