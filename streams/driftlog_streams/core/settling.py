"""Which conflicts of a partition nobody has decided in time: found here from what is stored, written into the op log, and settled only when
that is read from there, between the writes that competed when it was found (`Partition.settle`).

A store keeps deadlines in order, each with its document. It is a list of where to look, no more: the state says what is in conflict there now
and until when. Deadlines that are over, or that a new release of the app has moved, leave the list on the way.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple

from driftlog_crdt import AlgebraError, DocumentState
from driftlog_schemas.errors import ContractError
from driftlog_schemas.forgetting_codec import MAX_PLACE, MAX_SETTLE
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import Due
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import Collection, SpaceRules

MAX_LOOKED_AT = 1000
"""Deadlines in one look; the rest waits for the next."""
AGAIN_MS = 10 * 60 * 1000
"""When a deadline is looked at again under which nothing could be done now."""


class Overdue(NamedTuple):
    """What a look has found."""

    settle: tuple[Due, ...]
    over: list[tuple[int, bytes]]
    """Deadlines, with their document, of which nothing is left to decide."""
    later: list[tuple[int, bytes]]
    """Those that are later than the list had them."""
    more: bool
    """Is there more than one look takes?"""


def overdue(
    rules: SpaceRules, found: Iterable[tuple[int, bytes, bytes | None]], now_ms: int, in_vain: Container[Due] = ()
) -> Overdue:
    """What of these deadlines has passed without a decision; `in_vain` are those that a record has named without effect."""
    settle: dict[tuple[bytes, str], Due] = {}
    over: list[tuple[int, bytes]] = []
    later: list[tuple[int, bytes]] = []
    for looked_at, (at_ms, key, value) in enumerate(found, 1):
        dues, first_later = _dues(rules, key, value, now_ms)
        dues = [due for due in dues if due not in in_vain]
        settle.update({(due.key, due.place): due for due in dues})
        if not dues:
            over.append((at_ms, key))
            if first_later > at_ms:
                later.append((first_later, key))
        if len(settle) >= MAX_SETTLE or looked_at == MAX_LOOKED_AT:
            return Overdue(tuple(settle.values())[:MAX_SETTLE], over, later, more=True)
    return Overdue(tuple(settle.values()), over, later, more=False)


def _dues(rules: SpaceRules, key: bytes, value: bytes | None, now_ms: int) -> tuple[list[Due], int]:
    """The conflicts of a document whose deadline has passed, and when to look at it next, 0 for never. What another release has written this one
    cannot settle, and looks at it again later.
    """
    if value is None:
        return [], 0
    read = _read(rules, key, value)
    if read is None:
        return [], now_ms + AGAIN_MS
    dues, later = [], []
    for place, due_ms, seen in conflicts.dues(*read):
        name = conflicts.place_name(*place)
        if due_ms > now_ms:
            later.append(due_ms)
        elif due_ms:
            later.append(now_ms + AGAIN_MS)
            if len(name.encode()) <= MAX_PLACE:
                dues.append(Due(key, name, seen, due_ms))
    return dues, min(later, default=0)


def _read(rules: SpaceRules, key: bytes, value: bytes) -> tuple[Collection, DocumentState] | None:
    """A document as stored; None where this release cannot read it."""
    try:
        collection = rules.collections[parse_document_key(key).collection]
        return collection, collection.codec.decode(value)
    except (ValueError, KeyError, ContractError, AlgebraError):
        return None
