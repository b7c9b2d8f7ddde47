"""The open conflicts of one partition by the names of their records: a tombstone, or noise, over such a record does not say whose it was.

A store keeps them beside the states, in the same write; what has left with a flight and is not stored yet is kept here. A name is a place to look at and no
more: whether there is a conflict the state says. So one that has ended meanwhile does no harm, and the store is bounded by those that are open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

Disputing = Mapping[bytes, Collection[bytes]]
"""key of a document -> the names of its conflicts' records"""


class Disputes:
    """`load` gives the key of the document that the store has under a name."""

    def __init__(self, load: Callable[[bytes], bytes | None]) -> None:
        self._load = load
        self._flying: dict[bytes, bytes] = {}
        self._flights: Counter[bytes] = Counter()
        """In how many unfinished flights a name is."""

    def document(self, name: bytes) -> bytes | None:
        """The key of the document that has the conflict of this name; None for none."""
        return self._flying.get(name) or self._load(name)

    def left(self, disputes: Disputing) -> None:
        """A flight was sealed with these."""
        for key, names in disputes.items():
            self._flying.update(dict.fromkeys(names, key))
            self._flights.update(names)

    def landed(self, disputes: Disputing) -> None:
        """It is stored."""
        for name in (name for names in disputes.values() for name in names):
            self._flights[name] -= 1
            if not self._flights[name]:
                del self._flights[name], self._flying[name]
