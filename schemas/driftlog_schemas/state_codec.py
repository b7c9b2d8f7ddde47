"""The state of a document as a plain typed row, with the merge's own memory in its last field.

Any Kafka tool reads `on_hand: 7`; only Driftlog reads `_driftlog.merge`, the algebra's canonical encoding, from which the row
follows. The bytes depend on the merged ops alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import fastavro

from driftlog_crdt import DocumentState, DocumentType, Plain, version_of
from driftlog_crdt.document_state import Made
from driftlog_schemas import declarations
from driftlog_schemas.avro_writer import Writer, binary, boolean, string, writer_of
from driftlog_schemas.contract import CollectionContract, Column
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.moves import declared_name
from driftlog_schemas.registry import SchemaIds

META = "_driftlog"
KEEPING_FROM = 4
"""With so many fields what was written last is kept beside them. With fewer it costs as much as it saves, and memory besides (measured); of a
document that is written as one there is only one."""
_DELETED, _THERE = boolean(True), boolean(False)
_scope = lru_cache(maxsize=1 << 12)(string)
"""Of many documents, one after the other."""


def state_schema(collection: CollectionContract) -> str:
    """The Avro schema of a collection's rows, as compact JSON text. Field order is declaration order."""
    fields: list[dict[str, Any]] = [
        {"name": collection.scope_field, "type": "string"},
        {"name": collection.id_field, "type": "string"},
    ]
    fields += [_column(column) for column in collection.columns]
    fields.append(_meta(collection))
    kind = collection.document
    schema: dict[str, Any] = {
        "type": "record",
        "name": collection.name,
        "namespace": namespace(collection.space),
        declarations.PROPERTY: f"{kind.on_delete} document, merged by {kind.unit}",
        "fields": fields,
    }
    if collection.direction != "both":
        schema[declarations.TERMS] = {"direction": collection.direction}
    return json.dumps(schema, separators=(",", ":"))


def _meta(collection: CollectionContract) -> dict[str, Any]:
    """The column that only Driftlog reads."""
    kind = {
        "type": "record",
        "name": f"{collection.name}Meta",
        "fields": [
            {"name": "deleted", "type": "boolean", "default": False},
            {
                "name": "merge",
                "type": "bytes",
                "doc": "Driftlog's own: version vector and merge state, canonical JSON and what is bytes by nature",
            },
        ],
    }
    return {"name": META, "type": kind}


def _column(column: Column) -> dict[str, Any]:
    field = {"name": column.name, "type": column.avro, "default": column.default}
    if column.declared:
        field[declarations.PROPERTY] = column.declared
    if column.terms:
        field[declarations.TERMS] = column.terms
    return field


def namespace(space: str) -> str:
    """The Avro namespace of a space's rows, wherever it has moved; Avro knows no hyphen in a name, topics do."""
    return f"driftlog.{declared_name(space).replace('-', '__')}"


class StateCodec:
    """Rows of one collection."""

    def __init__(self, collection: CollectionContract, ids: SchemaIds) -> None:
        self.collection = collection
        self._kind = collection.document
        self.schema = state_schema(collection)
        self._codec = FramedCodec(self.schema, ids)
        memory = {
            "type": "record",
            "name": collection.name,
            "namespace": namespace(collection.space),
            "fields": [_meta(collection)],
        }
        self._memory = fastavro.parse_schema(memory)
        """Reads the merge's own memory alone."""
        self._columns = [_written(column, collection.document) for column in collection.columns]

    def encode(self, document: DocumentId, state: DocumentState) -> bytes:
        """The record value. Raises `TooLarge` over the collection's size guard."""
        return self.encode_with_version(document, state)[0]

    def encode_with_version(self, document: DocumentId, state: DocumentState) -> tuple[bytes, bytes, bool]:
        """The record value, the version in it, of which its digest is made (`digests`), and is the document deleted? Raises `TooLarge`."""
        kind, touched = self._kind, state.fields
        if state.made is None and len(touched) >= KEEPING_FROM:
            state.made = Made({}, {})
        columns = None if state.made is None else state.made.columns
        memory, version = kind.encode_with_version(state)
        deleted = not kind.exists(state)
        _, scope, name = document
        parts = [self._codec.own_header, _scope(scope), string(name)]
        for place, read, to_row, write, untouched in self._columns:
            if place not in touched:
                parts.append(untouched)
            elif columns is not None and place in columns:
                parts.append(columns[place])
            else:
                value = read(touched[place])
                column = write(value if to_row is None else to_row(value))
                parts.append(column)
                if columns is not None:
                    columns[place] = column
        parts += (_DELETED if deleted else _THERE, binary(memory))
        return b"".join(parts), version, deleted

    def _row(self, document: DocumentId, state: DocumentState, memory: bytes) -> dict[str, Any]:
        collection = self.collection
        kind = collection.document
        row: dict[str, Any] = {collection.scope_field: document.scope, collection.id_field: document.id}
        for column in collection.columns:
            value = kind.field_value(state, column.name)
            row[column.name] = value if column.to_row is None else column.to_row(value)
        row[META] = {"deleted": not kind.exists(state), "merge": memory}
        return row

    def decode(self, value: bytes) -> DocumentState:
        """The merge state. Raises `Undecodable`, `BadEncoding`."""
        return self._decoded(value)[0]

    def decode_with_version(self, value: bytes) -> tuple[DocumentState, bytes]:
        """The merge state, and its version as the record has it. Raises `Undecodable`, `BadEncoding`."""
        state, memory = self._decoded(value)
        return state, version_of(memory)

    def is_own(self, value: bytes) -> bool:
        """Was the row written in this code's schema? Raises `Undecodable`."""
        return self._codec.is_own(value)

    def decode_counted(self, value: bytes) -> tuple[DocumentState, bytes, bool]:
        """Of a row of our own schema: the merge state, the version of which its digest is made (`digests`), and does it say that the document
        is deleted? Raises `Undecodable`, `BadEncoding`."""
        row = self._codec.decode(value)
        memory = self._merge(row)
        return self.collection.document.decode(memory), version_of(memory), row[META]["deleted"]

    def _decoded(self, value: bytes) -> tuple[DocumentState, bytes]:
        try:
            memory = self._merge(self._codec.decode(value))
        except Undecodable:
            return self._of_other_columns(value)
        return self.collection.document.decode(memory), memory

    def _of_other_columns(self, value: bytes) -> tuple[DocumentState, bytes]:
        """Another release has widened a type, so none of its rows resolves to ours. The columns follow from the merge's memory, which stands
        apart from them: a document is as good as our own wherever our columns could hold what it says."""
        memory = self._merge(self._codec.decode(value, self._memory))
        state = self.collection.document.decode(memory)
        try:
            good = self._codec.fits(self._row(DocumentId(self.collection.name, "", ""), state, memory))
        except (TypeError, ValueError, ArithmeticError) as error:  # no value of the declared type
            raise Undecodable(f"a {self.collection.name} row of another release: {error}") from error
        if not good:
            raise Undecodable(f"a {self.collection.name} row with a value that this release's type does not take")
        return state, memory

    def read_row(self, document: DocumentId, value: bytes) -> dict[str, Any]:
        """The row as this release declares it, whoever wrote it. Raises `Undecodable`, `UnknownSchema`, `RegistryUnreachable`, `BadEncoding`.

        The columns of another release may lack what is declared here, or have it with another default; the merge's memory has all of it.
        """
        if self._codec.is_own(value):
            return self._codec.decode(value)
        state, memory = self._decoded(value)
        return self._row(document, state, memory)

    def decode_row(self, value: bytes) -> dict[str, Any]:
        """The row as any Kafka tool sees it."""
        return self._codec.decode(value)

    def _merge(self, row: dict[str, Any]) -> bytes:
        meta = row.get(META)
        if not isinstance(meta, dict):
            raise Undecodable(f"a {self.collection.name} row without {META}")
        merge: bytes = meta["merge"]
        return merge


class _Written(NamedTuple):
    """How a column is read from a state and written, and what is written where no op has touched its field (see `DocumentType.reader`)."""

    place: str
    read: Callable[[Any], Plain]
    to_row: Callable[[Plain], Any] | None
    write: Writer
    untouched: bytes


def _written(column: Column, kind: DocumentType) -> _Written:
    write, value = writer_of(column.avro), kind.field_value(kind.new(), column.name)
    untouched = write(value if column.to_row is None else column.to_row(value))
    return _Written(*kind.reader(column.name), column.to_row, write, untouched)


def codecs_of(collections: dict[str, CollectionContract], ids: SchemaIds) -> dict[str, StateCodec]:
    """One codec per collection."""
    return {name: StateCodec(collection, ids) for name, collection in collections.items()}
