"""How far the store of a partition is, as the store itself remembers it."""

from __future__ import annotations

from typing import NamedTuple


class StoreMark(NamedTuple):
    """Kept in the store, in the same write as its states and rows."""

    position: int = -1
    """offset of the last state record that is in; -1 for none"""
    group: int = -1
    """the highest group number"""
    rows: int = -1
    """offset in the receipts topic up to which all chain rows are in; -1 for none"""

    @classmethod
    def decode(cls, data: bytes | None) -> StoreMark:
        return cls() if data is None else cls(*(int(part) for part in data.split(b",")))

    def encode(self) -> bytes:
        return b"%d,%d,%d" % self

    def moved(self, position: int, group: int, rows: int = -1) -> StoreMark:
        """With the state records up to `position` in, and the rows up to `rows`."""
        assert position >= self.position, f"a store never goes back: {self.position} -> {position}"
        return StoreMark(position, max(group, self.group), max(rows, self.rows))
