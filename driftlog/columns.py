"""How a field stands in a row of the read model, which any Kafka tool reads.

| Python | Avro |
|---|---|
| `str`, `UUID`, enums and literals of text | string |
| `int`, enums and literals of numbers | long |
| `float`, `bool` | double, boolean |
| `Decimal` | bytes, decimal(38, 9) |
| `datetime`, `date` | timestamp-micros, date |
| `X | None` | union of null and X |
| sets, lists, all values of a multi-value | array |
| maps | map |
| everything else (models, dicts, tuples) | string holding JSON |

A row must always be writable, whatever was merged, or one document would stop a worker: so what a column could not hold is refused
when it is written (`values`), and sums, which nobody refuses, stop at the ends of a long.
Every column has a default, so that rows from before the column was declared can be read.
"""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, cast, get_args, get_origin

from driftlog.values import DECIMAL_DIGITS, DECIMAL_PLACES, LONG_MAX, LONG_MIN, ValueType, bare, optional
from driftlog_crdt import Plain, canonical
from driftlog_schemas.contract import Column
from driftlog_schemas.evolution import Terms

_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": DECIMAL_DIGITS, "scale": DECIMAL_PLACES}
_TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
_DATE = {"type": "int", "logicalType": "date"}

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """A column without its name. `to_row` and `from_row` are None where the plain value is the row's."""

    avro: Any
    default: Any
    to_row: Convert | None = None
    from_row: Convert | None = None

    def named(self, name: str, declared: str = "", terms: Terms = MappingProxyType({})) -> Column:
        """The column of a field that is declared as that, on those terms."""
        return Column(name, self.avro, self.default, self.to_row, self.from_row, declared, terms)


def long_sum() -> Shape:
    """A total of everybody's steps, each within 64 bits."""
    return Shape(
        "long", 0, lambda total: total if LONG_MIN <= total <= LONG_MAX else min(max(total, LONG_MIN), LONG_MAX)
    )


def of_value(value: ValueType[Any], default: Plain = None) -> Shape:
    """The column of one value of this type."""
    inner = optional(value.annotation)
    if inner is not None:
        shape = of_value(ValueType(inner, value.adapter))
        return Shape(["null", shape.avro], None, _keep_none(shape.to_row), _keep_none(shape.from_row))
    base = bare(value.annotation)
    if base in _SIMPLE:
        avro, zero = _SIMPLE[base]
        return Shape(avro, zero if default is None else default)
    if base in _CONVERTED:
        avro, to_row = _CONVERTED[base]
        default = "\u0000" if base is Decimal else 0
        return Shape(avro, default, to_row, lambda row: value.to_plain(row, ""))
    members = _members(base)
    if members and all(isinstance(m, str) for m in members):
        return Shape("string", members[0] if default is None else default)
    if members and all(type(m) is int for m in members):
        return Shape("long", members[0] if default is None else default)
    return Shape("string", canonical(default), canonical, json.loads)


def is_scalar(value: ValueType[Any]) -> bool:
    """Can it be an element of a set? What stands in a row as JSON cannot."""
    inner = optional(value.annotation)
    shape = of_value(ValueType(inner, value.adapter) if inner is not None else value)
    return shape.to_row is not canonical


def array_of(items: Shape) -> Shape:
    """The column of many of these."""
    return Shape({"type": "array", "items": items.avro}, [], _each(items.to_row), _each(items.from_row))


def map_of(values: Shape) -> Shape:
    """The column of these by key."""
    return Shape({"type": "map", "values": values.avro}, {}, _each_value(values.to_row), _each_value(values.from_row))


_SIMPLE: dict[Any, tuple[str, Any]] = {
    str: ("string", ""),
    uuid.UUID: ("string", ""),
    bool: ("boolean", False),
    int: ("long", 0),
    float: ("double", 0.0),
}
_CONVERTED: dict[Any, tuple[Any, Convert]] = {
    Decimal: (_DECIMAL, Decimal),
    datetime: (_TIMESTAMP, lambda text: datetime.fromisoformat(text).astimezone(UTC)),
    date: (_DATE, date.fromisoformat),
}


def _members(base: Any) -> list[Any]:
    """The plain values of an enum or a literal, in order."""
    if isinstance(base, type) and issubclass(base, enum.Enum):
        return [member.value for member in base]
    return list(get_args(base)) if get_origin(base) is Literal else []


def members_of(annotation: Any) -> list[Plain]:
    """The values that a type lists, in the order in which it lists them; empty for a type that lists none."""
    return cast("list[Plain]", _members(bare(annotation)))


def _keep_none(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _each(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: [convert(value) for value in values]


def _each_value(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: {key: convert(value) for key, value in values.items()}
