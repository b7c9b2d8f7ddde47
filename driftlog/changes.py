"""Changing a document without a declared command: one mutator by name, and the value that a person decides for.

The same handles do the work as in a command, so that a value from outside is validated as one from inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from driftlog.errors import InvalidInput
from driftlog.fields.handle import Built, FieldPort
from driftlog_crdt import DELETE, DOCUMENT, PUT, Plain
from driftlog_schemas.contract import DocumentEditor, Json


def mutate(
    name: str,
    built: Mapping[str, Built],
    editor: DocumentEditor,
    field: str,
    op: str,
    args: Sequence[Json],
) -> None:
    """One mutator by name, on a document of collection `name`. `("", "delete", [])` deletes. Raises `InvalidInput`."""
    if field == DOCUMENT:
        if op != DELETE or args:
            raise InvalidInput("op", f"a document takes {DELETE!r} without args, not {op!r}")
        editor.record(DOCUMENT, DELETE, None)
        return
    known = _known(name, built, field)
    known.handle(FieldPort(editor, field), known).mutate(op, args)


def decide(name: str, built: Mapping[str, Built], editor: DocumentEditor, place: str, value: Json) -> None:
    """Write the value that a person chose for a conflict. `place` is as conflicts name it: a field, `field.key`
    for a key of a map, empty for the whole record. Raises `InvalidInput`.
    """
    if place == DOCUMENT:
        editor.record(DOCUMENT, PUT, _record(name, built, value))
        return
    field, _, key = place.partition(".")
    known = _known(name, built, field)
    known.handle(FieldPort(editor, field), known).decide(key, value)


def _known(name: str, built: Mapping[str, Built], field: str) -> Built:
    known = built.get(field)
    if known is None:
        raise InvalidInput("field", f"{name} has no field {field!r}; it has {', '.join(built)}")
    return known


def _record(name: str, built: Mapping[str, Built], value: Json) -> dict[str, Plain]:
    if not isinstance(value, dict):
        raise InvalidInput("value", f"takes an object with the fields of {name}, not {value!r}")
    return {field: _known(name, built, field).value.to_plain(one, field) for field, one in value.items()}
