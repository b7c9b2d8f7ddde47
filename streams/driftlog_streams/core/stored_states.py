"""States as bytes, read as far as this release can: what stands of two words on a document, and which conflicts it has.

A record may be older than what the store has, for it was published by another life. Then both are joined; and where one of the two says that the
document was purged, what began after the purge is newer than it (see `memory`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import structlog

from driftlog_crdt import AlgebraError, DocumentState, Place, epoch_of
from driftlog_schemas import groups
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import Forgot
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import SpaceRules

log = structlog.get_logger()


class StoredStates:
    """Of one space."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules

    def of_two(
        self, key: bytes, value: bytes | None, mark: groups.GroupMark, known: bytes | None, gone: int
    ) -> bytes | None:
        """What stands after a record that may be older than what is known: known by a state, by its purge, or not at all."""
        if value is None:
            return known if known is not None and self._epoch(key, known) >= mark.purged else None
        if known is None:
            return None if gone and self._epoch(key, value) < gone else value
        return self._joined(key, value, known)

    def _epoch(self, key: bytes, value: bytes) -> int:
        """Since which purge a document has been there; without end where this release cannot tell."""
        state = self.decoded(key, value)
        return sys.maxsize if state is None else epoch_of(state.vector)

    def deleted(self, key: bytes, value: bytes) -> bool:
        """Is this the state of a document that was there and is deleted?"""
        state = self.decoded(key, value)
        collection = self._rules.collections.get(parse_document_key(key).collection) if state is not None else None
        return state is not None and collection is not None and not collection.type.exists(state)

    def decoded(self, key: bytes, value: bytes) -> DocumentState | None:
        """The state; None where this release cannot read it."""
        try:
            return self._rules.collections[parse_document_key(key).collection].codec.decode(value)
        except (ValueError, KeyError, ContractError, AlgebraError):
            return None

    def _joined(self, key: bytes, value: bytes, stored: bytes | None) -> bytes:
        """Both sides' ops; what the store has where this release can read one of them not."""
        if stored is None or stored == value:
            return value
        try:
            document = parse_document_key(key)
            collection = self._rules.collections[document.collection]
            state = collection.type.join(collection.codec.decode(stored), collection.codec.decode(value))
            return collection.codec.encode(document, state)
        except (ValueError, KeyError, ContractError, AlgebraError) as error:
            log.warning(
                "two words on a document that this release cannot read",
                key=key.decode(errors="replace"),
                error=str(error),
            )
            return stored

    def owed(self, key: bytes, value: bytes | None, offset: int) -> Iterator[tuple[bytes, tuple[int, bytes, Place]]]:
        """The conflicts of a document of which one had grown and may not be told as it stands."""
        state = None if value is None else self.decoded(key, value)
        if state is not None:
            document = parse_document_key(key)
            for place in conflicts.places(self._rules.collections[document.collection], state):
                name = conflict_id(document, conflicts.place_name(*place))
                yield name.encode(), (offset, key, place)

    def names(self, key: bytes, value: bytes | None) -> Sequence[bytes]:
        """The names of a document's conflicts."""
        state = None if value is None else self.decoded(key, value)
        if state is None:
            return ()
        document = parse_document_key(key)
        return tuple(conflicts.names(document, self._rules.collections[document.collection], state))


def over_by(forgot: Sequence[Forgot], number: int) -> int:
    """By which purge a document is over of which a store that had come beyond these has nothing, and a group below one of their floors tells.

    All that stands below a floor was published, and was in that store, before the floor was said.
    """
    return max([entry.purged for entry in forgot if number < entry.floor], default=0)
