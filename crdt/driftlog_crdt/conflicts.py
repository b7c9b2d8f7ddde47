"""Which writes of a document are in conflict, and which conflicts an op has ended.

A conflict is a pair of surviving writes of one place (a field, a key of a map, the record): both maximal, so neither writer had
seen the other's, with values that differ by canonical text. It opens when the second of the two is merged, and
closes when a write or a delete that had seen at least one of them takes that one away. So the conflicts open in a state are
a function of its op set, and the pairs opened minus the pairs closed, in any order of delivery, are just those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from driftlog_crdt.document_state import NO_PAIRS, Pair
from driftlog_crdt.field_type import Siblings, Write
from driftlog_crdt.plain import differ


class Conflict(NamedTuple):
    """An open conflict as a person sees it: the write that stands, and those beside it with other values."""

    field: str
    key: str
    """The map's key, where the field is a map."""
    winner: Write
    losers: tuple[Write, ...]


def open_conflicts(field: str, groups: Iterable[Siblings]) -> list[Conflict]:
    """The conflicts among each group's writes, winner against the rest."""
    found: list[Conflict] = []
    for key, winner, writes in groups:
        losers = tuple(w for w in writes if differ(w.value, winner.value))
        if losers:
            found.append(Conflict(field, key, winner, losers))
    return found


def closed_pairs(field: str, before: Sequence[Write], after: Iterable[Write], key: str = "") -> tuple[Pair, ...]:
    """The pairs that were in conflict `before` and have lost a side."""
    standing = {(w.replica, w.seq) for w in after}
    gone = {(w.replica, w.seq) for w in before} - standing
    if not gone:
        return NO_PAIRS
    pairs: list[Pair] = []
    for index, first in enumerate(before):
        for second in before[index + 1 :]:
            lost = first[:2] in gone or second[:2] in gone
            if lost and differ(first.value, second.value):
                pairs.append(Pair(field, first, second, key))
    return tuple(pairs)
