"""What the records of a changelog make of a partition's store, before the first op is merged.

What a crash leaves behind is a *torn tail*: state records and chain rows of flights that were never acknowledged, so their ops are
read again. What had been decided is known by the rows: no state leaves before the row that says what became of a command of
several documents, or of one that was not plainly accepted. So recovery keeps rows and states, and guesses nothing.

A record whose group number is below one already seen was published by another life (after a crash, or by a frozen
worker that woke): it may be older than what it would replace, so it is joined with it, never put over it, and the document is
published again. The same where one of the two says that the document was purged: what began after the purge is newer than it, and what
was there before is older (see `memory`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from driftlog_crdt import AlgebraError, DocumentState, epoch_of
from driftlog_schemas import groups
from driftlog_schemas.errors import ContractError, Undecodable, UnknownSchema
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import ChainRow, ParkedCommand
from driftlog_streams.core.chain import later
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.store_mark import StoreMark

log = structlog.get_logger()


class ChangelogRecord(NamedTuple):
    """A record of a compacted topic, whichever client read it."""

    key: bytes
    value: bytes | None
    offset: int
    headers: groups.Headers


class Changelogged(Protocol):
    """A store that recovery fills."""

    @property
    def mark(self) -> StoreMark: ...
    def get(self, key: bytes) -> bytes | None: ...
    def row(self, replica: str) -> bytes | None: ...
    def write(
        self,
        states: Iterable[tuple[bytes, bytes | None]],
        mark: StoreMark,
        rows: Iterable[tuple[str, bytes]] = (),
        passed: Passed | None = None,
    ) -> None: ...
    def purged(self, key: bytes) -> int: ...


@dataclass(slots=True)
class Recovered:
    """What a merger of a recovered partition must know."""

    stale: set[bytes] = field(default_factory=set)
    """documents whose last record in the topic is behind the store: to be published again"""
    stale_rows: set[str] = field(default_factory=set)
    """replicas whose last row in the topic is behind the store"""
    parked: list[ParkedCommand] = field(default_factory=list)
    """in order of parking"""
    records: int = 0
    committed: int = 0


class Restoration:
    """Takes changelog records into stores."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules

    def take(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put state records of one partition into its store."""
        states: dict[bytes, bytes | None] = {}
        passed = Passed()
        highest, position = store.mark.group, store.mark.position
        for key, value, offset, headers in records:
            if offset <= position:
                continue
            position = offset
            mark = groups.parse(headers)
            number = mark.number
            if number < 0:
                log.warning(
                    "a state that no worker wrote is passed over", key=key.decode(errors="replace"), offset=offset
                )
                recovered.stale.add(key)
                continue
            recovered.stale.discard(key)
            if number < highest:
                known = states[key] if key in states else store.get(key)
                gone = 0 if known is not None else passed.gone.get(key) or store.purged(key)
                kept = self._of_two(key, value, mark, known, gone)
                if kept != value:
                    recovered.stale.add(key)
                value, mark = kept, mark._replace(number=highest, purged=gone or mark.purged)
            highest = max(highest, number)
            states[key] = value
            passed.take(key, value, mark, partial(self._deleted, key))
            recovered.records += 1
        store.write(states.items(), store.mark.moved(position, highest), passed=passed)

    def take_rows(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put the chain rows among the receipts of one partition into its store; refusals stand there under a device's name."""
        rows: dict[str, bytes] = {}
        mark = store.mark
        position = mark.rows
        for key, value, offset, _ in records:
            position = max(position, offset)
            replica = key.decode(errors="replace")
            found = self._row(replica, value)
            if found is None or value is None:
                continue
            recovered.stale_rows.discard(replica)
            known = rows[replica] if replica in rows else store.row(replica)
            stored = self._row(replica, known)
            if stored is not None and known != value and later(stored, found) is stored:
                recovered.stale_rows.add(replica)
                continue
            rows[replica] = value
        store.write((), mark.moved(mark.position, mark.group, position), rows.items())

    def _row(self, replica: str, value: bytes | None) -> ChainRow | None:
        if value is None or "." not in replica:
            return None
        try:
            row = self._rules.records.decode_chain_row(value)
        except (Undecodable, UnknownSchema, ValueError) as error:  # anybody's tool may write to a topic
            log.warning("a chain row is not readable", replica=replica, error=str(error))
            return None
        return row if row.replica == replica else None

    def _of_two(
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
        state = self._decoded(key, value)
        return sys.maxsize if state is None else epoch_of(state.vector)

    def _deleted(self, key: bytes, value: bytes) -> bool:
        state = self._decoded(key, value)
        collection = self._rules.collections.get(parse_document_key(key).collection) if state is not None else None
        return state is not None and collection is not None and collection.type.deleted(state)

    def _decoded(self, key: bytes, value: bytes) -> DocumentState | None:
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
