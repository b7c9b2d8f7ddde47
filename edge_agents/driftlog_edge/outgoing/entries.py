"""The entries of what waits to be sealed, as they lie in the store: by class, then partition, then in order.

They are looked up some at a time, so that others may run between, and from the front of each class and partition (`outgoing/fronts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile

from driftlog_edge.outgoing.fronts import Fronts
from driftlog_edge.outgoing.moments import ALL, Moments
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal

AT_ONCE = 250
"""Entries of a class that are looked at before others may run: as many as a batch can hold ops."""
FIRST_LOOK = 32
"""Of these at first, then twice as many each time: a batch of commands with many ops takes few entries."""


class Entries:
    """Those of one queue; `moments` says which classes there are beside what is held."""

    def __init__(self, journal: Journal, moments: Moments) -> None:
        self._journal = journal
        self._moments = moments
        self.fronts = Fronts()
        journal.on_staged(self.fronts.staged)

    def all(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of each, with the size of its command in the op log as value."""
        return self._journal.scan(Family.OUTBOX, b"")

    def of_command(self, lsn: int, space: str, partition: int) -> tuple[bytes, bytes] | None:
        """(key, value) of the entry of one command; None where it does not wait."""
        for urgency in (*self._moments.classes, keys.HELD):
            key = keys.outbox_key(space, urgency, partition, lsn)
            value = self._journal.get(Family.OUTBOX, key)
            if value is not None:
                return key, value
        return None

    def holds(self, lsn: int, place: tuple[str, int]) -> bool:
        """Does this command still wait? `place` is its (space, partition)."""
        return self.of_command(lsn, *place) is not None

    def urgency(self, lsn: int, place: tuple[str, int]) -> int | None:
        """The class in which this command of (space, partition) waits: `keys.HELD` where it was put off, or stands behind one that was. None where it
        does not wait."""
        entry = self.of_command(lsn, *place)
        return None if entry is None else keys.urgency_of(entry[0])

    def holds_back(self, lsn: int, place: tuple[str, int]) -> bool:
        """Was this command put off, or does it stand behind one that was?"""
        return self._journal.get(Family.OUTBOX, keys.outbox_key(place[0], keys.HELD, place[1], lsn)) is not None

    def of_partition(self, space: str, partition: int) -> Iterator[bytes]:
        """The keys of one partition, of all classes."""
        for urgency in (*self._moments.classes, keys.HELD):
            yield from self.of_class(space, urgency, partition)

    def some(self, space: str, partition: int) -> bool:
        """Is there an entry of this partition?"""
        return next(self.of_partition(space, partition), None) is not None

    def of_class(self, space: str, urgency: int, partition: int, up_to: int = ALL) -> Iterator[bytes]:
        """The keys of one class of a partition, in order, as far as this lsn."""
        most, some = FIRST_LOOK, self.first(space, urgency, partition, FIRST_LOOK)
        prefix = keys.outbox_prefix(space, urgency, partition)
        while some:
            yield from takewhile(lambda key: keys.parse_lsn(key) <= up_to, some)
            if keys.parse_lsn(some[-1]) > up_to:
                return
            most = min(2 * most, AT_ONCE)
            some = [*islice(self._journal.scan_keys(Family.OUTBOX, prefix, some[-1]), most)]

    def first(self, space: str, urgency: int, partition: int, most: int) -> list[bytes]:
        """The first keys of a class of a partition, `most` of them."""
        after = self.fronts.begins(space, urgency, partition)
        if after is None:
            return []
        found = self._journal.scan_keys(Family.OUTBOX, keys.outbox_prefix(space, urgency, partition), after)
        some = [*islice(found, most)]
        self.fronts.found(space, urgency, partition, keys.parse_lsn(some[0]) if some else None)
        return some

    def held(self, space: str, partition: int, after: int = 0) -> Iterator[bytes]:
        """The keys of what a partition holds back, above the lsn `after`, in order."""
        start = keys.outbox_key(space, keys.HELD, partition, after) if after else b""
        return self._journal.scan_keys(Family.OUTBOX, keys.outbox_prefix(space, keys.HELD, partition), start)

    def held_lsns(self, space: str, partition: int, after: int = 0) -> Iterator[int]:
        """The same by their lsns."""
        return map(keys.parse_lsn, self.held(space, partition, after))
