"""How far somebody else's schema is believed.

A record says by which schema it was written, and whoever may register a schema may have written that one too. A schema that
holds itself makes a reader recurse until the process dies; an array of nothing is as long as its three bytes claim; twenty types
that each hold the next one twice make a million fields out of none. All that a document of ours could ever need stays far
below these bounds, so a schema over them is refused before a single byte is read with it.

Source: Avro 1.12 specification, "Binary Encoding": null and empty records take no bytes.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from driftlog_schemas.avro_files import full_name

MAX_DEPTH = 32
MAX_FIELDS = 10_000
"""With every named type written out where it is used."""

_SMALLEST = {"null": 0, "float": 4, "double": 8}
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class NoSchema(ValueError):
    """A text that is no Avro record schema, or one over the bounds."""


@lru_cache(maxsize=1000)
def writer_schema(text: str) -> tuple[str, Any]:
    """The full name and the parsed schema of a writer's record. Raises `NoSchema`."""
    try:
        named: dict[str, Any] = {}
        parsed = fastavro.parse_schema(json.loads(text), named_schemas=named)
        name = full_name(text)
        _Walk(named).smallest(parsed, 0)
    except NoSchema:
        raise
    except (SchemaParseException, UnknownType, ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoSchema(f"{type(error).__name__}: {error}") from error
    return name, parsed


class _Walk:
    """One walk through a schema, with a count of all that was met."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._met = 0

    def smallest(self, schema: Any, depth: int) -> int:
        """The fewest bytes that a value of it takes."""
        self._met += 1
        if depth > MAX_DEPTH or self._met > MAX_FIELDS:
            raise NoSchema(f"it is nested over {MAX_DEPTH} deep or has over {MAX_FIELDS} fields")
        if isinstance(schema, str):
            if schema in _PRIMITIVES:
                return _SMALLEST.get(schema, 1)
            return self.smallest(self._named[schema], depth + 1)
        if isinstance(schema, list):
            return 1 + min((self.smallest(branch, depth + 1) for branch in schema), default=0)
        kind = schema["type"]
        if kind in ("record", "error"):
            return sum(self.smallest(field["type"], depth + 1) for field in schema["fields"])
        if kind == "enum":
            return 1
        if kind == "fixed":
            return int(schema["size"])
        if kind == "map":
            self.smallest(schema["values"], depth + 1)
            return 1
        if kind == "array":
            if self.smallest(schema["items"], depth + 1) <= 0:
                raise NoSchema("it has an array of items that take no bytes")
            return 1
        return self.smallest(kind, depth + 1)
