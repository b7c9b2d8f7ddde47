"""What the owner of a partition says to a conflict record that somebody else wrote there.

The truth is in the states, so a record is judged by the state of its document: where the place is fought over, the record is what stands
there now; where it is not, the conflict has ended, by the write that stands (a delete leaves none, and then nobody is named). A
record that names a write which the state has not seen is of somebody who was further than we are: merging that write will say it.
A tombstone, or what says nothing of the conflict whose name it bears, is judged by who has that conflict (`disputes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import structlog

from driftlog_crdt import DEADLINE, DocumentState, covers
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import MAX_RECORD_BYTES, Collection, SpaceRules

log = structlog.get_logger()

StateOf = Callable[[DocumentId, Collection], DocumentState | None]
"""The state of a document; None where it cannot be read."""
Disputed = Callable[[bytes], bytes | None]
"""The key of the document that has the open conflict of this name; None for none."""


class OwnersWord(NamedTuple):
    """To one record of the conflicts topic."""

    value: bytes | None
    """What must be published over it; None where it may stand."""
    open: DocumentId | None
    """The document that has the conflict now; None for none."""


def owners_word(
    rules: SpaceRules, key: bytes, value: bytes | None, state_of: StateOf, disputed: Disputed
) -> OwnersWord:
    """What the owner says to it. `value` None is a tombstone, or no record at all."""
    found = _said(rules, key, value)
    word = _open(rules, key, state_of, disputed) if found is None else _word(rules, found, state_of)
    if word is None:
        return OwnersWord(None, None)
    encoded = rules.records.encode_conflict(word)
    stands = encoded == value or len(encoded) + len(key) > MAX_RECORD_BYTES
    return OwnersWord(None if stands else encoded, None if word.status.over else word.document)


def _said(rules: SpaceRules, key: bytes, value: bytes | None) -> Conflict | None:
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


def _open(rules: SpaceRules, key: bytes, state_of: StateOf, disputed: Disputed) -> Conflict | None:
    """The conflict of this name, if it is open."""
    name = disputed(key)
    document = None if name is None else parse_document_key(name)
    collection = None if document is None else rules.collections.get(document.collection)
    if document is None or collection is None:
        return None
    state = state_of(document, collection)
    place = None if state is None else conflicts.names(document, collection, state).get(key)
    return None if state is None or place is None else conflicts.standing(document, collection, state, place)


def _word(rules: SpaceRules, found: Conflict, state_of: StateOf) -> Conflict | None:
    collection = rules.collections.get(found.document.collection)
    place = conflicts.place_of(found.field)
    if collection is None or place.field not in collection.policies:
        return None
    state = state_of(found.document, collection)
    if state is None or not _seen(state, found):
        return None
    stands = conflicts.standing(found.document, collection, state, place)
    if stands is not None or found.status.over:
        return stands
    by = conflicts.survivor(collection, state, place)
    settled = by is not None and by.how == DEADLINE
    status = ConflictStatus.SETTLED if settled else ConflictStatus.RESOLVED
    return replace(found, status=status, decided_by=by)


def _seen(state: DocumentState, found: Conflict) -> bool:
    named = [*found.versions] if found.decided_by is None else [*found.versions, found.decided_by]
    return all(covers(state.vector, version.replica, version.seq) for version in named)
