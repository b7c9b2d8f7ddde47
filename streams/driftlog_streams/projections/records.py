"""What a record of the state topic says of its document, and which records nobody believes.

Believed is what the other readers of the topic believe: a record under a document's own key, in its scope's partition, by a worker (it names a
group, and one that the op log has). A stranger's record is passed over: the partition's owner answers it with its own word. So is a
worker's that this release cannot read; it is told with its address, and the row stays as it was until a newer record of the document comes, or until
a newer release reads all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from driftlog_crdt import AlgebraError
from driftlog_schemas import groups
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.sparing import Sparing
from driftlog_schemas.state_codec import META, StateCodec
from driftlog_schemas.tuples import maker
from driftlog_streams.projections.sink import Row
from driftlog_streams.projections.tables import Table, table_of

log = structlog.get_logger()

UNREADABLE = (Undecodable, UnknownSchema, AlgebraError, ValueError, ArithmeticError, TypeError)
"""What reading a row raises that is foreign, damaged, or of a newer release. `RegistryUnreachable` is not among them: then nobody can tell."""


class StateRecord(NamedTuple):
    """As it stands in the topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    mark: groups.GroupMark
    at_ms: int


MOST_PLACES = 1 << 14
"""Of so many scopes it is known that their keys are written well."""


class _Place(NamedTuple):
    collection: str
    scope: str
    partition: int


_document, _row = maker(DocumentId), maker(Row)


class StateReader:
    """Of one space. `skipped` is told of each record that is passed over."""

    def __init__(self, space: SpaceContract, ids: SchemaIds, skipped: Callable[[], None] = lambda: None) -> None:
        self._space = space
        self._codecs = {name: StateCodec(one, ids) for name, one in space.collections.items()}
        self.tables: Mapping[str, Table] = {name: table_of(one) for name, one in space.collections.items()}
        self._columns = {
            name: [(column.name, column.read) for column in table.columns] for name, table in self.tables.items()
        }
        self._places: dict[bytes, _Place] = {}
        """By how a scope's keys begin, as they were found good."""
        self._skipped = skipped
        self._tell = Sparing(log, "a record is passed over")

    def row(self, record: StateRecord) -> Row | None:
        """None where the record says nothing. Raises `RegistryUnreachable`."""
        try:
            document = self._document(record)
            if record.value is None:
                return self._gone(record, document)
            row = self._codecs[document.collection].read_row(document, record.value)
            if row[META]["deleted"]:
                return self._gone(record, document)
            values = {name: read(row[name]) for name, read in self._columns[document.collection]}
        except UNREADABLE as error:
            self.pass_over(record, str(error))
            return None
        return _row((document, record.offset, record.at_ms, record.mark.disputed or record.mark.owed, values))

    def pass_over(self, record: StateRecord, why: str) -> None:
        """Tell of a record that is not taken."""
        self._skipped()
        self._tell(partition=record.partition, offset=record.offset, key=record.key[:200], why=why[:500])

    def _document(self, record: StateRecord) -> DocumentId:
        """Raises ValueError for a record that is not where its document's is."""
        beginning, _, name = record.key.rpartition(b"/")
        place = self._places.get(beginning)
        if place is not None and place.partition == record.partition and b"%" not in name:
            return _document((place.collection, place.scope, name.decode()))
        document = parse_document_key(record.key)
        if document_key(document) != record.key:
            raise ValueError("that is not how the key of this document is written")
        if document.collection not in self._codecs:
            raise ValueError(f"collection {document.collection} is not declared in this release")
        if partition_of(document.scope, self._space.partitions) != record.partition:
            raise ValueError(f"the documents of scope {document.scope} lie in another partition")
        if len(self._places) >= MOST_PLACES:
            self._places.clear()
        self._places[beginning] = _Place(document.collection, document.scope, record.partition)
        return document

    def _gone(self, record: StateRecord, document: DocumentId) -> Row:
        return Row(document, record.offset, record.at_ms, disputed=False, values=None)
