"""Avro in the Confluent wire format: a zero byte, the schema id in four bytes, then plain Avro binary."""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from typing import Any, cast

import fastavro

from driftlog_schemas.avro_files import full_name
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.registry import SchemaIds

_HEADER = struct.Struct(">bI")
HEADER_BYTES = _HEADER.size


def header(schema_id: int) -> bytes:
    """The five bytes before the Avro binary."""
    return _HEADER.pack(0, schema_id)


def schema_id_of(value: bytes) -> int:
    """The writer's schema id. Raises `Undecodable`."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise Undecodable("not in the Confluent wire format", "only Driftlog's own producers write this topic")
    return int(_HEADER.unpack_from(value)[1])


def decode_plain(schema: Any, data: bytes, start: int = 0) -> dict[str, Any]:
    """Plain Avro binary to a dict; trailing bytes are refused. Raises `Undecodable`."""
    stream = io.BytesIO(data)
    stream.seek(start)
    try:
        record = fastavro.schemaless_reader(stream, schema, None)
    except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, AttributeError) as error:
        raise Undecodable(f"truncated or foreign Avro: {error!r}") from error
    if stream.tell() != len(data):
        raise Undecodable(f"{len(data) - stream.tell()} bytes after the record")
    return cast(dict[str, Any], record)


class FramedCodec:
    """One record type, framed. Reads what older and newer writers wrote, by the registry."""

    def __init__(self, schema_text: str, ids: SchemaIds) -> None:
        self._text = schema_text
        self._name = full_name(schema_text)
        self._schema: Any = fastavro.parse_schema(json.loads(schema_text))
        self._ids = ids
        self._own: int | None = None
        self._header = b""

    @property
    def own_id(self) -> int:
        """The id of this code's schema, asked for once."""
        if self._own is None:
            self._own = self._ids.id_of(self._text)
            self._header = header(self._own)
        return self._own

    def encode(self, record: dict[str, Any]) -> bytes:
        """The framed bytes of a record."""
        if self._own is None:
            _ = self.own_id
        stream = io.BytesIO()
        stream.write(self._header)
        fastavro.schemaless_writer(stream, self._schema, record)
        return stream.getvalue()

    def decode(self, value: bytes) -> dict[str, Any]:
        """The record in this code's schema. Raises `Undecodable`, `UnknownSchema`, `RegistryUnreachable`."""
        written = schema_id_of(value)
        if written == self.own_id:
            return decode_plain(self._schema, value, HEADER_BYTES)
        writer = _parsed(self._ids.schema_of(written))
        stream = io.BytesIO(value)
        stream.seek(HEADER_BYTES)
        try:
            return cast(dict[str, Any], fastavro.schemaless_reader(stream, writer, self._schema))
        except (EOFError, ValueError, IndexError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise Undecodable(f"schema {written} cannot be read as {self._name}: {error!r}") from error


@lru_cache(maxsize=1000)
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))
