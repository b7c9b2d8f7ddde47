"""The shape of values that a row holds as JSON: which types stand at which place, and which places are always there.

Taken from the type's JSON Schema, of which only that is kept: titles, texts, limits and defaults may change freely (see
`driftlog_schemas.evolution` for how two shapes are compared). A value that may be null is taken for the value, as it is at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftlog_schemas.evolution import AGAIN, ANYTHING

MAX_PLACES = 256
"""Beyond that many places a shape is not told any further."""


class JsonShape:
    """Of one JSON Schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._kinds: Mapping[str, Any] = schema.get("$defs", {})
        self._types: dict[str, set[str]] = {}
        self._required: set[str] = set()
        self._walk("", schema, ())

    @property
    def terms(self) -> dict[str, Any]:
        """As they stand in a schema of rows."""
        shape = {place: sorted(types) for place, types in self._types.items()}
        return {"shape": shape, "required": sorted(self._required)}

    def _walk(self, place: str, schema: Any, within: tuple[str, ...]) -> None:
        if len(self._types) >= MAX_PLACES:
            return
        if not isinstance(schema, dict):
            schema = {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            kind = reference.rpartition("/")[2]
            schema = self._kinds.get(kind, {})
            if kind not in within:
                self._walk(place, schema, (*within, kind))
                return
            self._add(place, AGAIN)
            self._named(place, schema)
            return
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            for one in choices:
                self._walk(place, one, within)
            return
        self._named(place, schema)
        self._inside(place, schema, within)

    def _named(self, place: str, schema: Mapping[str, Any]) -> None:
        for name in _types_of(schema):
            if name != "null":
                self._add(place, name)

    def _inside(self, place: str, schema: Mapping[str, Any], within: tuple[str, ...]) -> None:
        for name, one in schema.get("properties", {}).items():
            self._walk(f"{place}/{_pointer(name)}", one, within)
        for name in schema.get("required", ()):
            self._required.add(f"{place}/{_pointer(name)}")
        for at, one in enumerate(schema.get("prefixItems", ())):
            self._walk(f"{place}/[{at}]", one, within)
            self._required.add(f"{place}/[{at}]")
        if "items" in schema:
            self._walk(f"{place}/[]", schema["items"], within)
        if schema.get("additionalProperties"):
            self._walk(f"{place}/*", schema["additionalProperties"], within)

    def _add(self, place: str, name: str) -> None:
        self._types.setdefault(place, set()).add(name)


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    """The JSON types a schema names, text with its format; what lists its values has the types of those."""
    named = schema.get("type")
    if named is None and "enum" in schema:
        return sorted({_NAMES.get(type(value), "null") for value in schema["enum"]})
    if named is None:
        return [_NAMES.get(type(schema["const"]), "null")] if "const" in schema else [ANYTHING]
    return [f"{named} {schema['format']}" if "format" in schema else str(named)]


_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
