"""What the owner of a partition says to a conflict record that somebody else wrote there.

The truth is in the states, so a record is judged by the state of its document: where the place is fought over, the record is what stands
there now; where it is not, the conflict has ended, and how is known from then (`disputes`). Where that is forgotten it ended by the write that
stands (a delete leaves none, and then nobody is named). A record that names a write which the state has not seen may be of somebody who was further than
we are, or of nobody. Over a conflict that is open here what stands is told all the same: who invents a write that decides it would
take it off the list for good, and where there is such a write, merging it tells how it has ended. Where nothing is open it is doubted (see
`conflict_doubts`).
A tombstone, or what says nothing of the conflict whose name it bears, is judged by who has that conflict (`disputes`).
A record may also name writes that are there and never competed, or say something else of them. Whoever owns the partition has met each conflict
that ended since; so of what comes later it knows that no such conflict was there, and tells how it ended, or that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import structlog

from driftlog_crdt import DEADLINE, DocumentState, Vector, covers, forgotten_in
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import ChainRow, Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import MAX_RECORD_BYTES, Collection, SpaceRules

log = structlog.get_logger()

StateOf = Callable[[DocumentId, Collection], DocumentState | None]
"""The state of a document; None where it cannot be read."""


class Known(Protocol):
    """What is known of conflicts by the names of their records."""

    def dispute(self, name: bytes) -> bytes | None:
        """The key of the document that has the open conflict of this name."""

    def ended(self, name: bytes) -> bytes | None:
        """The record by which the conflict of this name ended last."""


class Ground(NamedTuple):
    """What the records of a partition's conflicts are judged by."""

    state_of: StateOf
    known: Known
    row_of: Callable[[str], ChainRow | None]
    """The chain row of a replica, also of one that was removed; None where nothing is known of it."""
    purged: Callable[[], int]
    """The offset of the partition's last purge; 0 where nothing was ever purged."""
    ends_known: Callable[[DocumentId], bool] = lambda document: False
    """Was every conflict of this document that has ended, and is not forgotten, met by whoever judges: merged, or read when the partition was taken
    over? Then a record that tells another end is nobody's. Who takes a partition over meets the ends there, and cannot say so.
    """
    forgetful: Callable[[], bool] = lambda: True
    """May the partition have forgotten ends?"""


class OwnersWord(NamedTuple):
    """To one record of the conflicts topic."""

    value: bytes | None
    """What must be published over it; None where it may stand."""
    open: DocumentId | None
    """The document that has the conflict now; None for none."""


def owners_word(rules: SpaceRules, key: bytes, value: bytes | None, ground: Ground) -> OwnersWord:
    """What the owner says to it. `value` None is a tombstone, or no record at all."""
    found, end = said(rules, key, value), said(rules, key, ground.known.ended(key))
    word = _open(rules, key, ground) or end if found is None else _word(rules, found, ground, end)
    if word is None:
        return OwnersWord(None, None)
    encoded = rules.records.encode_conflict(word)
    stands = encoded == value or len(encoded) + len(key) > MAX_RECORD_BYTES
    return OwnersWord(None if stands else encoded, None if word.status.over else word.document)


def said(rules: SpaceRules, key: bytes, value: bytes | None) -> Conflict | None:
    """What a record of this name says; None where that is nothing, or is not of the conflict that is called so."""
    if value is None:
        return None
    try:
        found = rules.records.decode_conflict(value)
    except (
        Undecodable,
        UnknownSchema,
        RegistryUnreachable,
        ValueError,
    ) as error:  # anybody's tool may write to a topic
        log.warning("a conflict is not readable", key=key[:64].decode(errors="replace"), error=str(error))
        return None
    true = found.id.encode() == key and conflict_id(found.document, found.field) == found.id
    return found if true else None


def _open(rules: SpaceRules, key: bytes, ground: Ground) -> Conflict | None:
    """The conflict of this name, if it is open."""
    name = ground.known.dispute(key)
    document = None if name is None else parse_document_key(name)
    collection = None if document is None else rules.collections.get(document.collection)
    if document is None or collection is None:
        return None
    state = ground.state_of(document, collection)
    place = None if state is None else conflicts.names(document, collection, state).get(key)
    return None if state is None or place is None else conflicts.standing(document, collection, state, place)


def _word(rules: SpaceRules, found: Conflict, ground: Ground, end: Conflict | None) -> Conflict | None:
    collection = rules.collections.get(found.document.collection)
    place = conflicts.place_of(found.field)
    if collection is None or place.field not in collection.policies:
        return None
    state = ground.state_of(found.document, collection)
    if state is None:
        return None
    stands = conflicts.standing(found.document, collection, state, place)
    if stands is not None:
        return stands
    if not seen(state, found, ground):
        return None
    if end is not None and (ground.ends_known(found.document) or not later(found, end)):
        return end
    if never(found, end, ground):
        return None
    true = conflicts.as_held(collection, state, place, found)
    if found.status.over:
        return None if true == found else true
    by = conflicts.survivor(collection, state, place)
    settled = by is not None and by.how == DEADLINE
    return replace(true, status=ConflictStatus.SETTLED if settled else ConflictStatus.RESOLVED, decided_by=by)


def never(found: Conflict, end: Conflict | None, ground: Ground) -> bool:
    """Nothing competes where the record says it, all writes that it names are here, and how it ended is not known: was there never such a conflict?"""
    return end is None and not ground.forgetful() and ground.ends_known(found.document)


def later(found: Conflict, end: Conflict) -> bool:
    """Does `found` tell of something after that end?"""
    return _newest_ms(found) > _newest_ms(end)


def _newest_ms(conflict: Conflict) -> int:
    return max([version.append_ms for version in named(conflict)], default=-1)


def named(conflict: Conflict) -> list[Version]:
    """All writes that a record names."""
    return [*conflict.versions, *([] if conflict.decided_by is None else [conflict.decided_by])]


def seen(state: DocumentState, found: Conflict, ground: Ground) -> bool:
    """Has the state all writes that the record names? What it has forgotten by name it has."""
    vector = state.vector
    return all(
        covers(vector, version.replica, version.seq) or forgotten(vector, version, ground) for version in named(found)
    )


def forgotten(vector: Vector, version: Version, ground: Ground) -> bool:
    """Is this a write of a life that is over, and can it be among those that are forgotten by name?"""
    if version.replica in vector or version.seq > forgotten_in(vector):
        return False
    row = ground.row_of(version.replica)
    return row is not None and bool(row.ended)
