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
from driftlog_edge.incoming.landing import Landing
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_edge.store.pending import Fate, marks_of
from driftlog_edge.store.unseen import covered, unseen_of

AT_ONCE = 100
"""Entries that are looked at, or writes that are made, without letting others run."""


class Coverage:
    """Compares states with the pending index of one replica."""

    def __init__(self, journal: Journal, lives: Lives) -> None:
        self._journal = journal
        self._lives = lives

    def told(self, landing: Landing) -> Generator[None, None, tuple[tuple[int, ...], bool]]:
        """What the states say of our own dots: lsns that are done, and whether somebody else makes such dots."""
        dropped = landing.dropped
        forked, done = False, len(landing.writes)
        landing.writer, waiting = self._writer(landing), self._waiting()  # others may have run before this
        for key, state in landing.latest.items():
            vector, highest = {} if state is None else state.vector, 0
            if landing.fresh:  # readers still see the old rows, with what is pending over them
                highest = self.highest_made(key, landing.writer) if waiting else 0
            elif waiting:
                group = landing.groups[key]
                highest = yield from self.drop_covered(key, vector, group, landing.writer, landing.writes, dropped)
                if len(landing.writes) - done >= AT_ONCE:
                    done = len(landing.writes)
                    yield
                    waiting = self._waiting()
                landing.writer = self._writer(landing)
            if state is None:
                continue
            if vector.get(landing.writer, 0):
                highest = max(highest, self._unseen(key, vector, landing))
            # A document that was not held tells nothing of who made its dots.
            if key in landing.held:
                known = max(highest, landing.held[key])
                forked |= self.never_made(landing.space, landing.partition, state.vector, known)
        return tuple(dropped), forked

    def _waiting(self) -> bool:
        """Is anything pending at all? As a rule nothing is, and then no document needs to be asked about."""
        return next(self._journal.scan(Family.PENDING, b""), None) is not None

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

    def _unseen(self, key: bytes, vector: Vector, landing: Landing) -> int:
        """The highest of the writer's own dots that were perhaps never to be seen; they go where readers have a state that covers them."""
        lives = unseen_of(self._journal, landing.space, landing.partition, key)
        dots = lives.get(landing.writer)
        if not landing.fresh:
            landing.writes.update(covered(landing.space, landing.partition, key, lives, vector))
        return 0 if dots is None else dots.last

    def _writer(self, landing: Landing) -> str:
        return self._lives.writing(landing.space, landing.partition)
