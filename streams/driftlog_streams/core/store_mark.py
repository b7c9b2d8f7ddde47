"""How far the store of a partition is, as the store itself remembers it.

What a crash leaves half published (see `restoration`) must be known until it has been merged again, and by the next life
too if this one dies first: `tail` says from where the changelog has to be looked at again, although its states are in.

Must never happen: a tail forgotten too early.
"""

from __future__ import annotations

from typing import NamedTuple


class StoreMark(NamedTuple):
    """How far a partition's store is; kept in it, in the same write as its states."""

    position: int = -1
    """offset of the last state record that is in; -1 for none"""
    group: int = -1
    """the highest group number"""
    tail: int = -1
    """offset of the first state record of a torn tail; -1 for none"""
    until: int = -1
    """the highest group number of that tail"""

    @classmethod
    def decode(cls, data: bytes | None) -> StoreMark:
        return cls() if data is None else cls(*(int(part) for part in data.split(b",")))

    def encode(self) -> bytes:
        return b"%d,%d,%d,%d" % self

    @property
    def reread(self) -> int:
        """From where a recovery reads the changelog."""
        return self.position + 1 if self.tail < 0 else min(self.tail, self.position + 1)

    def after_flight(self, position: int, group: int) -> StoreMark:
        """With a flight's states in. All that was torn is whole again when as much has been merged, and published, as then."""
        assert position >= self.position, f"a store never goes back: {self.position} -> {position}"
        tail, until = (-1, -1) if group >= self.until else (self.tail, self.until)
        return StoreMark(position, max(group, self.group), tail, until)

    def after_recovery(self, position: int, group: int, tail: int, until: int) -> StoreMark:
        """With the changelog's records in up to `position`."""
        assert position >= self.position, f"a store never goes back: {self.position} -> {position}"
        return StoreMark(position, max(group, self.group), tail, until)
