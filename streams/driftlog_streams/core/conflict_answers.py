"""What the owner of a partition says to a conflict record that somebody else wrote there.

The truth is in the states, so a record is judged by the state of its document: where the place is fought over, the record is what stands
there now; where it is not, the conflict has ended, by the write that stands (a delete leaves none, and then nobody is named). A
record that names a write which the state has not seen is of somebody who was further than we are: merging that write will say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from driftlog_crdt import DEADLINE, DocumentState, covers
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import MAX_RECORD_BYTES, Collection, SpaceRules

log = structlog.get_logger()

StateOf = Callable[[DocumentId, Collection], DocumentState | None]
"""The state of a document; None where it cannot be read."""


def owners_word(rules: SpaceRules, key: bytes, value: bytes, state_of: StateOf) -> bytes | None:
    """What must be published over this record of the conflicts topic; None where it may stand."""
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
    if found.id.encode() != key or conflict_id(found.document, found.field) != found.id:
        return None
    word = _word(rules, found, state_of)
    encoded = None if word is None else rules.records.encode_conflict(word)
    if encoded is None or encoded == value or len(encoded) + len(key) > MAX_RECORD_BYTES:
        return None
    return encoded


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
