"""Record: a document that is written as one; the last writer of any field wins them all.

| concurrent ops | result |
|---|---|
| set(price) and set(name) | the whole record of the write with the higher (hlc, replica); the other is in conflict with it |
| set(price), then set(name) by someone who saw it | both |

For records whose fields only make sense together (an address, a calibration): mixing one writer's street with another's
city would be worse than losing a write. Setting one field writes the whole record as its writer sees it, as one op of the
document (`put`), kept in one `Register`. It converges because that register does.

>>> from driftlog_crdt.document import DocumentType, Field
>>> from driftlog_crdt.register import Register
>>> address = DocumentType("Address", {"street": Field(Register("")), "city": Field(Register(""))}, unit="record")
>>> state = address.new()
>>> ours = address.prepare(state, "a", 1, "", "put", {"street": "Main 1", "city": "Ulm"})
>>> theirs = address.prepare(state, "b", 2, "city", "set", "Bonn")
>>> len(address.apply(state, ours).contested), len(address.apply(state, theirs).contested)
(0, 1)
>>> address.values(state)
{'street': '', 'city': 'Bonn'}

Source: Shapiro et al. 2011, section 3.2.1, on the record as one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from driftlog_crdt.declared import Field
from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadEncoding, BadOperation, BadValue
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.ops import DOCUMENT, Op
from driftlog_crdt.plain import Plain, check_plain
from driftlog_crdt.register import Register
from driftlog_crdt.writes_field import WritesField

PUT = "put"
"""The kind of the op that writes a whole record."""

_STRICTNESS = ("silent", "record", "review")


@dataclass(frozen=True, slots=True)
class Record(WritesField):
    """The one field of a document whose unit is the record."""

    name: ClassVar[str] = "record"
    kinds: ClassVar[frozenset[str]] = frozenset({PUT})
    contextual: ClassVar[frozenset[str]] = frozenset({PUT})

    def check(self, op: Op) -> None:
        self.require_kind(op)
        if type(op.value) is not dict:
            raise BadValue(op.field, f"put takes a whole record, not {type(op.value).__name__}")
        check_plain(op.value, op.field)

    def stands_alone(self, state: Writes, op: Op) -> bool:
        return False  # the other fields are what its writer saw

    def decode(self, plain: Plain) -> Writes:
        writes = super(Record, self).decode(plain)
        if any(type(write.value) is not dict for write in writes):
            raise BadEncoding("", "a write of a record is encoded as [replica, seq, hlc, {field: value}]")
        return writes

    def restated(self, state: Writes, key: str) -> tuple[str, Plain]:
        return PUT, self.value(state)

    def value(self, state: Writes) -> Plain:
        winner = self.winner(state)
        return {} if winner is None else winner.value


def check_types(document: str, types: Mapping[str, FieldType[Any]]) -> None:
    """Raise ValueError unless a record of these fields can be written as one."""
    for name, kind in types.items():
        if type(kind) is not Register:
            raise ValueError(f"{document}.{name}: a record written as one holds registers, not a {kind.name}")


def put_value(
    document: str,
    fields: Mapping[str, Field],
    seen: dict[str, Plain],
    field: str,
    kind: str,
    value: Plain,
) -> Plain:
    """The record that an intent writes: a whole one as it is, or what the writer sees with one field set."""
    if field == DOCUMENT and kind == PUT and type(value) is dict:
        changes = value
    elif field != DOCUMENT and kind == "set":
        changes = {field: value}
    else:
        raise BadOperation(field, f"{document} is written as one record: put a record or set a field, not {kind!r}")
    for name in changes:
        if name not in fields:
            raise BadOperation(name, f"{document} declares no such field; it has {', '.join(fields)}")
    return {**seen, **changes}


def field_value(writes: Writes | None, field: str, kind: FieldType[Any]) -> Plain:
    """One field of the record that stands."""
    winner = Record().winner(writes) if writes else None
    if winner is None or field not in winner.value:  # type: ignore[operator]  # check() has seen a record
        return kind.value(kind.new())
    return winner.value[field]  # type: ignore[index,call-overload]


def strictest(fields: Mapping[str, Field]) -> Field:
    """The declaration under which a conflict of the whole record falls."""
    return max(fields.values(), key=lambda field: _STRICTNESS.index(field.on_conflict))
