"""The conflicts of one partition by the names of their records: which are open, and how those that are over have ended.

A tombstone, or noise, over the record of an open one does not say whose it was. And how one ended no state tells once somebody has written on: an
ordinary write that stands there now has decided nothing. A store keeps both beside the states, in the same write; what has left with a flight and is not
stored yet is kept here. Of open ones a name is a place to look at and no more: whether there is a conflict the state says, so one that has ended meanwhile
does no harm, and there are no more than are open. Ends are kept until the partition forgets what was written then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

Disputing = Mapping[bytes, Collection[bytes]]
"""key of a document -> the names of its conflicts' records"""
Ending = Mapping[bytes, bytes]
"""name of a conflict's record -> that record, as it ended"""
Load = Callable[[bytes], bytes | None]


def _nothing(name: bytes) -> bytes | None:
    return None


class Disputes:
    """What the store has under a name: the key of the document that has the conflict, and the record by which one ended."""

    def __init__(self, disputed: Load = _nothing, ended: Load = _nothing) -> None:
        self._disputed, self._ended = disputed, ended
        self._flying: dict[bytes, bytes] = {}
        self._ending: dict[bytes, bytes] = {}
        self._flights: Counter[bytes] = Counter()
        """In how many unfinished flights a name is."""

    def dispute(self, name: bytes) -> bytes | None:
        """The key of the document that has the open conflict of this name; None for none."""
        return self._flying.get(name) or self._disputed(name)

    def ended(self, name: bytes) -> bytes | None:
        """The record by which the conflict of this name ended last; None where that is not known."""
        return self._ending.get(name) or self._ended(name)

    def left(self, disputes: Disputing, ends: Ending) -> None:
        """A flight was sealed with these."""
        for key, names in disputes.items():
            self._flying.update(dict.fromkeys(names, key))
            self._flights.update(names)
        self._ending.update(ends)
        self._flights.update(ends.keys())

    def landed(self, disputes: Disputing, ends: Ending) -> None:
        """It is stored."""
        for name in [*(name for names in disputes.values() for name in names), *ends]:
            self._flights[name] -= 1
            if not self._flights[name]:
                del self._flights[name]
                self._flying.pop(name, None)
                self._ending.pop(name, None)
