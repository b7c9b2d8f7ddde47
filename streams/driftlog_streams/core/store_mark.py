"""How far the store of a partition is, as the store itself remembers it.

Not how far the topics were read: a position stays before what somebody else wrote there until that was looked at and answered, and
before a group that nobody has ended. So the next life finds it again, whenever this one ends.
"""

from __future__ import annotations

from typing import NamedTuple

DIGESTS = 2
"""How digests are made now, and what else stands beside the states; a store that has them otherwise is counted anew."""


class Positions(NamedTuple):
    """Offsets of the last record in each topic that a partition's owner watches; -1 for none."""

    states: int = -1
    rows: int = -1
    conflicts: int = -1

    def before(self, others: Positions) -> Positions:
        """In each topic the one that comes first."""
        return Positions(*map(min, self, others))


NOTHING = Positions()


class StoreMark(NamedTuple):
    """Kept in the store, in the same write as its states and rows."""

    position: int = -1
    """offset of the last state record that is in; -1 for none"""
    group: int = -1
    """the highest group number"""
    rows: int = -1
    """offset in the receipts topic up to which all chain rows are in; -1 for none"""
    conflicts: int = -1
    """offset in the conflicts topic up to which all is as our states say; -1 for none"""
    digests: int = DIGESTS
    """how the digests of the scopes beside the states were made; another number than ours: not at all, or otherwise"""

    @classmethod
    def decode(cls, data: bytes | None) -> StoreMark:
        if data is None:
            return cls()
        mark = cls(*map(int, data.split(b",")))
        return mark if data.count(b",") + 1 == len(cls._fields) else mark._replace(digests=0)

    def encode(self) -> bytes:
        return b"%d,%d,%d,%d,%d" % self

    @property
    def positions(self) -> Positions:
        return Positions(self.position, self.rows, self.conflicts)

    def anew(self) -> StoreMark:
        """Of the same states and rows, with all topics to be read from their start."""
        return self._replace(position=-1, rows=-1, conflicts=-1)

    def moved(self, to: Positions, group: int) -> StoreMark:
        """With all records up to there in."""
        assert to.states >= self.position, f"a store never goes back: {self.position} -> {to.states}"
        rows, conflicts = max(to.rows, self.rows), max(to.conflicts, self.conflicts)
        return StoreMark(to.states, max(group, self.group), rows, conflicts, self.digests)
