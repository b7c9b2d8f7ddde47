"""The state of a document as a plain typed row, with the merge's own memory in its last field.

Any Kafka tool reads `on_hand: 7`; only Driftlog reads `_driftlog.merge`, the algebra's canonical encoding, from which the row
follows. The bytes depend on the merged ops alone.
"""

from __future__ import annotations

import json
from typing import Any

from driftlog_crdt import DocumentState
from driftlog_schemas import declarations
from driftlog_schemas.contract import CollectionContract, Column
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import SchemaIds

META = "_driftlog"


def state_schema(collection: CollectionContract) -> str:
    """The Avro schema of a collection's rows, as compact JSON text. Field order is declaration order."""
    fields: list[dict[str, Any]] = [
        {"name": collection.scope_field, "type": "string"},
        {"name": collection.id_field, "type": "string"},
    ]
    fields += [_column(column) for column in collection.columns]
    meta = {
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
    fields.append({"name": META, "type": meta})
    kind = collection.document
    schema = {
        "type": "record",
        "name": collection.name,
        "namespace": namespace(collection.space),
        declarations.PROPERTY: f"{kind.on_delete} document, merged by {kind.unit}",
        "fields": fields,
    }
    return json.dumps(schema, separators=(",", ":"))


def _column(column: Column) -> dict[str, Any]:
    field = {"name": column.name, "type": column.avro, "default": column.default}
    return {**field, declarations.PROPERTY: column.declared} if column.declared else field


def namespace(space: str) -> str:
    """The Avro namespace of a space's rows; Avro knows no hyphen in a name, topics do."""
    return f"driftlog.{space.replace('-', '__')}"


class StateCodec:
    """Rows of one collection."""

    def __init__(self, collection: CollectionContract, ids: SchemaIds) -> None:
        self.collection = collection
        self.schema = state_schema(collection)
        self._codec = FramedCodec(self.schema, ids)

    def encode(self, document: DocumentId, state: DocumentState) -> bytes:
        """The record value. Raises `TooLarge` over the collection's size guard."""
        collection = self.collection
        kind = collection.document
        row: dict[str, Any] = {collection.scope_field: document.scope, collection.id_field: document.id}
        for column in collection.columns:
            value = kind.field_value(state, column.name)
            row[column.name] = value if column.to_row is None else column.to_row(value)
        row[META] = {"deleted": kind.deleted(state), "merge": kind.encode(state)}
        return self._codec.encode(row)

    def decode(self, value: bytes) -> DocumentState:
        """The merge state. Raises `Undecodable`, `BadEncoding`."""
        return self.collection.document.decode(self._meta(value)["merge"])

    def decode_row(self, value: bytes) -> dict[str, Any]:
        """The row as any Kafka tool sees it."""
        return self._codec.decode(value)

    def _meta(self, value: bytes) -> dict[str, Any]:
        meta = self._codec.decode(value).get(META)
        if not isinstance(meta, dict):
            raise Undecodable(f"a {self.collection.name} row without {META}")
        return meta


def codecs_of(collections: dict[str, CollectionContract], ids: SchemaIds) -> dict[str, StateCodec]:
    """One codec per collection."""
    return {name: StateCodec(collection, ids) for name, collection in collections.items()}
