"""What a confirmed state says of this replica's own pending ops.

A pending entry goes when the state has seen its last dot, or was read past the record that decided it (its document was purged since); its
command has left the backlog when it is decided too and no entry of it is left. What an earlier life has left parked holds up nothing of the
next one: the dots of each life are in order, those of several are not. A state may
also hold a dot of ours which this folder never made: then somebody else speaks in its name.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import islice

from driftlog_crdt import Vector
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_edge.store.pending import Fate, marks_of

AT_ONCE = 100
"""Entries that are looked at without letting others run."""


class Coverage:
    """Compares states with the pending index of one replica."""

    def __init__(self, journal: Journal, lives: Lives) -> None:
        self._journal = journal
        self._lives = lives

    def drop_covered(
        self,
        key: bytes,
        vector: Vector,
        group: int,
        writer: str,
        writes: dict[Place, bytes | None],
        dropped: dict[int, None],
    ) -> Generator[None, None, int]:
        """Pending entries of a document that its state, read up to this group, covers go. Returns the highest seq that the life which
        writes there, the last to have entries, is known to have made. It stops after every few of them, so that others may run."""
        highest = at = 0
        while True:
            looked = 0
            for mark in islice(marks_of(self._journal, key, at), AT_ONCE):
                at, looked = mark.lsn, looked + 1
                if mark.replica == writer:
                    highest = mark.seq
                if vector.get(mark.replica, 0) < mark.seq and not mark.shown_by(group):
                    if mark.replica == writer:
                        return highest
                    continue
                writes[Family.PENDING, keys.pending_key(key, mark.lsn)] = None
                if mark.fate is not Fate.UNKNOWN and not self.elsewhere(key, mark.lsn, writes):
                    dropped[mark.lsn] = None
            if looked < AT_ONCE:
                return highest
            yield

    def elsewhere(self, key: bytes, lsn: int, writes: Mapping[Place, bytes | None]) -> bool:
        """Is a command pending on another document than this one?"""
        others = changed_keys(logged(self._journal, lsn).command) - {key}
        places = [(Family.PENDING, keys.pending_key(other, lsn)) for other in others]
        return any(place not in writes and self._journal.get(*place) is not None for place in places)

    def highest_made(self, key: bytes, writer: str) -> int:
        """The highest seq of a life's pending entries of a document."""
        return max((mark.seq for mark in marks_of(self._journal, key) if mark.replica == writer), default=0)

    def never_made(self, space: str, partition: int, vector: Vector, highest: int) -> bool:
        """Does a state hold a dot of the life that writes there which this folder never made?"""
        chain = self._lives.chain(space, partition)
        return not chain.fork and vector.get(chain.replica, 0) > highest
