"""A collection as a table: which columns it has, of which kind, and how a row of the state topic becomes their values.

| declared as | kind |
|---|---|
| counters, whole numbers, their extremes | `INTEGER` |
| `Decimal` | `DECIMAL` |
| `float` | `NUMBER` |
| `bool`, flags | `FLAG` |
| `str`, `UUID`, enums and literals of text, texts | `TEXT` |
| `datetime`, `date` | `MOMENT`, `DATE` |
| sets, lists, maps, multi-values, models, dicts, tuples | `JSON` |

A kind follows from the column's Avro type, which follows from the declaration; so whatever has a column in the state topic has one here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from driftlog_schemas.contract import CollectionContract, Column
from driftlog_schemas.state_codec import state_schema
from driftlog_streams.projections.sink import Value


class Kind(StrEnum):
    """Of a column's values."""

    INTEGER = "integer"
    """Of 64 bits."""
    DECIMAL = "decimal"
    """38 digits, 9 of them after the point."""
    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"
    MOMENT = "moment"
    DATE = "date"
    JSON = "json"


_OF_NAME = {"long": Kind.INTEGER, "double": Kind.NUMBER, "boolean": Kind.FLAG, "string": Kind.TEXT}
_OF_LOGICAL = {"decimal": Kind.DECIMAL, "timestamp-micros": Kind.MOMENT, "date": Kind.DATE}


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One field."""

    name: str
    kind: Kind
    optional: bool
    """May it be None?"""
    read: Callable[[Any], Value]
    """From what stands in the row."""
    default: Value
    """What a document has that nobody wrote this field of."""


@dataclass(frozen=True, slots=True)
class Table:
    """One collection. Its rows are named by `scope` and `id`, which are texts."""

    collection: str
    scope: str
    id: str
    columns: tuple[TableColumn, ...]
    declared: str
    """The Avro schema of its rows: another one may say something else of the same document."""


def table_of(collection: CollectionContract) -> Table:
    """The table of a collection."""
    columns = tuple(_column(column, collection) for column in collection.columns)
    return Table(collection.name, collection.scope_field, collection.id_field, columns, state_schema(collection))


def _column(column: Column, collection: CollectionContract) -> TableColumn:
    optional = isinstance(column.avro, list)
    avro = next(kind for kind in column.avro if kind != "null") if optional else column.avro
    kind = _kind(avro)
    read: Callable[[Any], Value] = _same
    if kind is Kind.TEXT and column.to_row is not None:
        kind, read = Kind.JSON, json.loads  # a text column that is converted holds JSON (see `columns` of the face)
    elif kind is Kind.DECIMAL:
        read = Decimal.normalize  # a row has nine places behind the point, whatever was written
    elif kind is Kind.JSON and column.from_row is not None:
        read = column.from_row
    if optional:
        read = _keeping_none(read)
    untouched = collection.document.field_value(collection.document.new(), column.name)
    default = read(untouched if column.to_row is None else column.to_row(untouched))
    return TableColumn(column.name, kind, optional, read, default)


def _kind(avro: Any) -> Kind:
    if isinstance(avro, str):
        return _OF_NAME[avro]
    if avro["type"] in ("array", "map"):
        return Kind.JSON
    return _OF_LOGICAL[avro["logicalType"]]


def _same(value: Any) -> Value:
    found: Value = value
    return found


def _keeping_none(read: Callable[[Any], Value]) -> Callable[[Any], Value]:
    return lambda value: None if value is None else read(value)
