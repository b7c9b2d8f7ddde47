"""Avro binary of one column, by a writer that is made from the column's schema once.

A record in Avro is nothing but its fields' bytes one after the other, so a row can be put together column by column, without a walk
through its schema for each. What rows mostly hold is written here; for any other type fastavro writes the value alone. Either way the
bytes are fastavro's, and what it refuses is refused.

Source: Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import fastavro

from driftlog_schemas.columns_codec import LEAST, MOST, varint

Writer: TypeAlias = Callable[[Any], bytes]
"""A value's bytes. Raises TypeError, ValueError for one that is not of the type."""

_DOUBLE = struct.Struct("<d")
_END = b"\x00"
_varint = lru_cache(maxsize=1 << 12)(varint)
"""Lengths and counts are mostly small, and come again and again."""


def writer_of(schema: Any) -> Writer:
    """The writer of a type that names no other types."""
    if isinstance(schema, str) and schema in _SIMPLE:
        return _SIMPLE[schema]
    if isinstance(schema, list) and schema[0] == "null" and isinstance(schema[1], str) and schema[1] in _SIMPLE:
        return _optional(_SIMPLE[schema[1]])
    if isinstance(schema, dict) and schema["type"] == "array":
        return _array(schema)
    if isinstance(schema, dict) and schema["type"] == "map":
        return _map(schema)
    return _any(schema)


def long(number: int) -> bytes:
    """A whole number of 64 bits, as `long`."""
    if number.__class__ is not int:
        raise TypeError(f"a whole number is written as long, not {number!r}")
    if not LEAST <= number <= MOST:
        raise ValueError(f"{number} has more than 64 bits")
    return _varint(number)


def binary(data: bytes) -> bytes:
    """Bytes of any length, as `bytes`."""
    return _varint(len(data)) + data


def string(text: str) -> bytes:
    """As `string`."""
    if not isinstance(text, str):
        raise TypeError(f"text is written as string, not {text!r}")
    data = text.encode()
    return _varint(len(data)) + data


def boolean(value: bool) -> bytes:
    """As `boolean`."""
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError(f"true or false is written as boolean, not {value!r}")


def _double(number: float) -> bytes:
    if number.__class__ is not float and number.__class__ is not int:
        raise TypeError(f"a number is written as double, not {number!r}")
    return _DOUBLE.pack(number)


_SIMPLE: dict[str, Writer] = {"boolean": boolean, "double": _double, "long": long, "string": string}


def _optional(write: Writer) -> Writer:
    """Null or another type: the place in the union stands before the value."""
    return lambda value: b"\x00" if value is None else b"\x02" + write(value)


def _array(schema: Any) -> Writer:
    write = writer_of(schema["items"])
    return lambda values: _block([write(value) for value in values])


def _map(schema: Any) -> Writer:
    write = writer_of(schema["values"])
    return lambda values: _block([string(key) + write(value) for key, value in values.items()])


def _block(items: list[bytes]) -> bytes:
    """All items in one block; an empty one ends the value."""
    return b"".join([_varint(len(items)), *items, _END]) if items else _END


def _any(schema: Any) -> Writer:
    parsed = fastavro.parse_schema(schema)

    def write(value: Any) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, value)
        return stream.getvalue()

    return write
