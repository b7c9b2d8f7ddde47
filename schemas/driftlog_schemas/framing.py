"""Avro in the Confluent wire format: a zero byte, the schema id in four bytes, then plain Avro binary.

A reader meets records of older and newer writers than itself. The id says with which schema a record was written; Avro's
resolution brings it into the reader's own. Records of the reader's own schema, nearly all, take the short way.

Whatever the bytes are, reading them gives a record or an error of our tree. A schema id stands in bytes that anybody may have
written, so it is believed no further than that: an unknown one is `UnknownSchema`, another record's is `Undecodable`.

Source: Confluent's "Wire format"; Avro 1.12 specification, "Schema Resolution".
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import Any, cast

import fastavro
from fastavro.read import SchemaResolutionError

from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.writer_schema import NoSchema, writer_schema

_HEADER = struct.Struct(">bI")
HEADER_BYTES = _HEADER.size

_MALFORMED = (
    EOFError,
    ValueError,  # text that is not UTF-8, dates and decimals out of range
    LookupError,  # branches and symbols that are not there
    TypeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    SchemaResolutionError,
)
"""What fastavro raises on bytes that are not the schema's."""


def header(schema_id: int) -> bytes:
    """The five bytes before the Avro binary."""
    return _HEADER.pack(0, schema_id)


def schema_id_of(value: bytes) -> int:
    """The writer's schema id. Raises `Undecodable`."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise Undecodable("not in the Confluent wire format", "only Driftlog's own producers write this topic")
    return int(_HEADER.unpack_from(value)[1])


def decode_plain(schema: Any, data: bytes, start: int = 0, reader: Any = None) -> dict[str, Any]:
    """Plain Avro binary of `schema` to a dict, in the reader's schema if one is given; trailing bytes are refused.

    Raises `Undecodable`.
    """
    stream = io.BytesIO(data)
    stream.seek(start)
    try:
        record = fastavro.schemaless_reader(stream, schema, reader)
    except _MALFORMED as error:
        raise Undecodable(f"truncated or foreign Avro: {type(error).__name__} {error}".rstrip()) from error
    if stream.tell() != len(data):
        raise Undecodable(f"{len(data) - stream.tell()} bytes after the record")
    return cast(dict[str, Any], record)


class FramedCodec:
    """One record type, framed. Reads what older and newer writers wrote, by the registry."""

    def __init__(self, schema_text: str, ids: SchemaIds) -> None:
        self._text = schema_text
        self.name, self._schema = writer_schema(schema_text)
        self._ids = ids
        self._own: int | None = None
        self._header = b""
        self._asked = False

    @property
    def own_id(self) -> int:
        """The id of this code's schema, asked for once. Raises `UnknownSchema`, `RegistryUnreachable`."""
        if self._own is None:
            self._own = self._ids.id_of(self._text)
            self._header = header(self._own)
        return self._own

    @property
    def own_header(self) -> bytes:
        """What stands before a record of this code's schema. Raises `UnknownSchema`, `RegistryUnreachable` the first time."""
        if self._own is None:
            _ = self.own_id
        return self._header

    def encode(self, record: dict[str, Any]) -> bytes:
        """The framed bytes of a record. Raises `UnknownSchema`, `RegistryUnreachable` the first time."""
        stream = io.BytesIO()
        stream.write(self.own_header)
        fastavro.schemaless_writer(stream, self._schema, record)
        return stream.getvalue()

    def _known_own(self) -> int | None:
        """The id of this code's schema if it can be had; reading asks for it once, and goes on without."""
        if self._own is None and not self._asked:
            self._asked = True
            with suppress(UnknownSchema, RegistryUnreachable):
                return self.own_id
        return self._own

    def must_ask(self, value: bytes | None) -> bool:
        """Does `decode` have to ask the registry for the writer's schema? A record need not have a value."""
        if value is None:
            return False
        try:
            written = schema_id_of(value)
        except Undecodable:
            return False
        return written != self._known_own() and not self._ids.at_hand(written)

    def is_own(self, value: bytes) -> bool:
        """Was it written in this code's schema? Raises `Undecodable`."""
        if self._header and value.startswith(self._header):  # nearly all
            return True
        return schema_id_of(value) == self._known_own()

    def fits(self, record: dict[str, Any]) -> bool:
        """Could `encode` write it?"""
        return bool(fastavro.validation.validate(record, self._schema, raise_errors=False))

    def decode(self, value: bytes, reader: Any = None) -> dict[str, Any]:
        """The record in this code's schema; of another writer's in `reader`, if that is given. Raises `Undecodable`, `UnknownSchema`,
        `RegistryUnreachable`.

        The registry need not know this code's schema: an edge may be upgraded before anybody who registers it.
        """
        if self.is_own(value):
            return decode_plain(self._schema, value, HEADER_BYTES)
        written = schema_id_of(value)
        try:
            name, schema = writer_schema(self._ids.schema_of(written))
        except NoSchema as error:
            raise Undecodable(f"schema {written} is not a record's in Avro: {error}") from error
        if name != self.name:
            raise Undecodable(f"schema {written} is {name}, not {self.name}")
        if self._own is None and schema == self._schema:
            self._own, self._header = written, header(written)
        return decode_plain(schema, value, HEADER_BYTES, self._schema if reader is None else reader)
