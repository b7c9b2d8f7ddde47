"""Conflicts of the held scopes, as the cloud publishes them: the latest record of each is kept as it came."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from driftlog_edge.incoming.pulled import UNREADABLE, PassedOver, Pulled
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store.cursors import cursor_of, moved
from driftlog_edge.store.generations import Generations
from driftlog_edge.store.journal import Journal
from driftlog_schemas.contract import Undeclared
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.sparing import Sparing

log = structlog.get_logger()


class Disputes:
    """Reads conflicts for one replica."""

    def __init__(
        self, generations: Generations, scopes: Collection[str], records: RecordCodecs, journal: Journal
    ) -> None:
        self._generations = generations
        self._scopes = scopes
        self._records = records
        self._journal = journal
        self._passed_over = PassedOver()
        self._told = Sparing(log, "conflict")

    def forgotten(self, space: str, partition: int) -> dict[Place, bytes | None]:
        """The writes that forget all conflicts of a partition."""
        return {
            (Family.CONFLICTS, key): None
            for key, value in self._journal.scan(Family.CONFLICTS, b"")
            if self._lies_in(self._records.decode_conflict(value), space, partition)
        }

    def _lies_in(self, conflict: Conflict, space: str, partition: int) -> bool:
        try:
            return self._generations.place(conflict.document.collection, conflict.document.scope) == (space, partition)
        except Undeclared:  # of another release
            return False

    def read(self, topic: str, partition: int, records: Sequence[Record]) -> Pulled:
        """What these records mean, with the cursor behind them."""
        space = topic.rpartition(".")[0]
        writes: dict[Place, bytes | None] = {}
        changed: list[DocumentId] = []
        unreadable = 0
        for record in records:
            if record.value is None:
                changed += self._gone(record.key)
                writes[Family.CONFLICTS, record.key] = None
                continue
            try:
                conflict = self._of(record, space, partition)
            except UNREADABLE as error:
                self._passed_over(topic, record, error)
                unreadable += 1
                continue
            if conflict.document.scope in self._scopes and not self._generations.own_only(conflict.document.collection):
                place = (Family.CONFLICTS, record.key)
                self._tell(conflict, writes[place] if place in writes else self._journal.get(*place))
                writes[place] = record.value
                changed.append(conflict.document)
        if records:
            before = cursor_of(self._journal, topic, partition)
            writes.update(moved(topic, partition, before._replace(offset=records[-1].offset + 1)))
        return Pulled(writes, tuple(changed), unreadable=unreadable)

    def _gone(self, key: bytes) -> list[DocumentId]:
        """Whose conflict is forgotten, if one of this key was known."""
        known = self._journal.get(Family.CONFLICTS, key)
        return [] if known is None else [self._records.decode_conflict(known).document]

    def _of(self, record: Record, space: str, partition: int) -> Conflict:
        """The conflict that a record is. Raises one of `UNREADABLE`, also where it lies in another place than it speaks of."""
        assert record.value is not None
        conflict = self._records.decode_conflict(record.value)
        if conflict.id.encode() != record.key:
            raise Undecodable(f"conflict {conflict.id} under another key")
        self._generations.require_here(document_key(conflict.document), conflict.document, space, partition)
        return conflict

    def _tell(self, conflict: Conflict, before: bytes | None) -> None:
        """In the log: a conflict that is new here, and the end of one that was open."""
        known = None if before is None else self._records.decode_conflict(before).status
        if conflict.status is not known:
            self._told(
                id=conflict.id,
                status=conflict.status.value,
                document="/".join(conflict.document),
                field=conflict.field,
            )
