"""What one generation's rows hold of the documents of a read: each is looked up once, whoever asks how often, and what has come of it meanwhile is seen.

Only who has the committer's turn writes rows, so what was looked up stays true until the read is staged. Families that are empty as a rule, and
markers where nothing was ever evicted, are asked for once a read and not once a document.
"""

from __future__ import annotations

from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.evicted import Marker, marker_of
from driftlog_edge.store.journal import Journal


class Rows:
    """Of one write set, `writes`, while it is made."""

    def __init__(self, journal: Journal, space: str, partition: int, generation: int) -> None:
        self.writes: dict[Place, bytes | None] = {}
        self._journal = journal
        self._prefix = keys.confirmed_prefix(space, partition, generation)
        self._known: dict[Place, bytes | None] = {}
        self._some_unread = next(journal.scan(Family.UNREAD, self._prefix), None) is not None
        self._some_evicted = journal.get(Family.META, keys.EVICTING) is not None

    def key(self, document: bytes) -> bytes:
        """Where the row of a document goes."""
        return self._prefix + document

    def confirmed(self, row: bytes) -> bytes | None:
        """A row that can be read."""
        return self._of((Family.CONFIRMED, row))

    def unread(self, row: bytes) -> bytes | None:
        """One that is kept for a newer release."""
        place = (Family.UNREAD, row)
        return self._of(place) if self._some_unread else self.writes.get(place)

    def marker(self, row: bytes) -> Marker | None:
        """What stands in the place of one that was evicted."""
        return marker_of(self._journal, row, self.writes) if self._some_evicted else None

    def _of(self, place: Place) -> bytes | None:
        if place in self.writes:
            return self.writes[place]
        if place not in self._known:
            self._known[place] = self._journal.get(*place)
        return self._known[place]
