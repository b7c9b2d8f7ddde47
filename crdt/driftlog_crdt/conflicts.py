"""Which writes of a document are in conflict.

A conflict is a place (a field, a key of a map, the record) where two or more writes survive whose values differ by canonical text.
Surviving means maximal: nobody who saw one has written there since. So the conflicts of a state are a function of its op set, each has
as many versions as there are such writes, and it is over when a write or a delete by somebody who had seen the others has left
one value or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from driftlog_crdt.field_type import Write


class Place(NamedTuple):
    """Where writes compete."""

    field: str
    key: str = ""
    """The map's key, where the field is a map."""


class Conflict(NamedTuple):
    """All the writes that compete for one place, the one that stands first."""

    field: str
    key: str
    writes: tuple[Write, ...]

    @property
    def winner(self) -> Write:
        return self.writes[0]


def conflict_of(place: Place, writes: Iterable[Write], rank: Callable[[Write], Any]) -> Conflict:
    """The conflict of these writes; the higher the rank, the sooner."""
    return Conflict(*place, tuple(sorted(writes, key=rank, reverse=True)))
