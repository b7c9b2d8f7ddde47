"""The tables of one schema, as the declaration wants them, and what has to change where another declaration made them.

| changed | then |
|---|---|
| a field or a collection is new | its column or table is added, and filled by reading again what was projected before (see `writing`) |
| a field or a collection is gone | its column or table stays as it was and is written no more; a rebuild leaves it out |
| anything else of a collection, as a default, or whether a field may be None | what was projected before is read again |
| a column's type, a scope or an id field | refused: a rebuild makes the tables anew |

The changes are one transaction, made while nobody else writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import sql

from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.errors import REBUILD
from driftlog_streams.projections.postgres.names import (
    CONFLICT_OPEN,
    OFFSET,
    UPDATED_AT,
    column_name,
    table_name,
)
from driftlog_streams.projections.sink import Value
from driftlog_streams.projections.tables import Kind, Table, TableColumn

_TYPES = {
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.NUMBER: "double precision",
    Kind.FLAG: "boolean",
    Kind.TEXT: "text",
    Kind.MOMENT: "timestamptz",
    Kind.DATE: "date",
    Kind.JSON: "jsonb",
}
_NOT_NULL = " not null"
NO_NUL = str.maketrans({"\0": "\N{REPLACEMENT CHARACTER}"})
"""PostgreSQL stores no NUL in a text."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A collection as a declaration of before has made it."""

    columns: Mapping[str, str]
    """name -> type, of all that were ever made, in the table's order"""
    declared: str
    """Empty for a collection that is declared no more."""


def column_type(column: TableColumn) -> str:
    """As it is written in SQL."""
    return _TYPES[column.kind]


def wanted_columns(table: Table) -> dict[str, str]:
    """name -> type of a table's own columns."""
    keys = {column_name(table.scope): "key text", column_name(table.id): "key text"}
    return keys | {column_name(column.name): _whole_type(column) for column in table.columns}


def _whole_type(column: TableColumn) -> str:
    return column_type(column) + ("" if column.optional else _NOT_NULL)


_json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Made once: `dumps` makes one for each text."""


def as_json(value: Value) -> str:
    """The text of a `JSON` column."""
    text = _json_text(value)
    return text if "\\u0000" not in text else _json_text(_without_nul(value))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(NO_NUL)
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(one) for key, one in value.items()}
    return value


def to_sql(kind: Kind) -> Callable[[Any], Any] | None:
    """How a value that is not None becomes what psycopg takes; None where it does as it is."""
    return {Kind.TEXT: _as_text, Kind.JSON: as_json}.get(kind)


def _as_text(value: Value) -> str:
    text = str(value)
    return text.translate(NO_NUL) if "\0" in text else text


def create_table(schema: str, table: Table) -> sql.Composed:
    """The statement."""
    parts: list[sql.Composable] = [
        sql.SQL("{} text NOT NULL").format(sql.Identifier(column_name(name))) for name in (table.scope, table.id)
    ]
    parts += [_definition(column) for column in table.columns]
    parts += [
        sql.SQL("{} bigint NOT NULL").format(sql.Identifier(OFFSET)),
        sql.SQL("{} timestamptz NOT NULL").format(sql.Identifier(UPDATED_AT)),
        sql.SQL("{} boolean NOT NULL").format(sql.Identifier(CONFLICT_OPEN)),
        sql.SQL("PRIMARY KEY ({}, {})").format(
            sql.Identifier(column_name(table.scope)), sql.Identifier(column_name(table.id))
        ),
    ]
    return sql.SQL("CREATE TABLE {} ({})").format(
        sql.Identifier(schema, table_name(table.collection)), sql.SQL(", ").join(parts)
    )


def _definition(column: TableColumn) -> sql.Composed:
    return sql.SQL("{} {}{} DEFAULT {}").format(
        sql.Identifier(column_name(column.name)),
        sql.SQL(column_type(column)),
        sql.SQL("" if column.optional else " NOT NULL"),
        _literal(column),
    )


def _literal(column: TableColumn) -> sql.Composable:
    convert, value = to_sql(column.kind), column.default
    if convert is not None and value is not None:
        value = convert(value)
    if isinstance(value, Decimal | datetime | date):
        value = str(value)
    return sql.Literal(value)


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes the tables as they are wanted."""

    statements: list[sql.Composed]
    written: dict[str, Stored]
    """What is to be remembered, by collection."""
    read_again: bool
    """Does something have to be filled from what was projected before?"""
    fresh: frozenset[str]
    """Collections whose tables are empty, and so are filled with rows."""


def changes(schema: str, tables: Iterable[Table], stored: Mapping[str, Stored]) -> Changes:
    """What has to be done. Raises `SetupProblem` for what only a rebuild can do."""
    statements: list[sql.Composed] = []
    written: dict[str, Stored] = {}
    fresh: set[str] = set()
    wanted = {table.collection: table for table in tables}
    for name, table in wanted.items():
        columns, before = wanted_columns(table), stored.get(name)
        if before is None:
            statements.append(create_table(schema, table))
            written[name] = Stored(columns, table.declared)
            fresh.add(name)
        elif before.declared != table.declared:
            place = sql.Identifier(schema, table_name(name))
            _require_types(table, columns, before)
            if not before.declared:  # it was gone, and nobody has written what happened meanwhile
                statements.append(sql.SQL("TRUNCATE {}").format(place))
                fresh.add(name)
            statements += [
                _added(place, column) for column in table.columns if column_name(column.name) not in before.columns
            ]
            statements += [_loosened(place, name) for name, was in before.columns.items() if columns.get(name) != was]
            statements += [
                _defaulted(place, column) for column in table.columns if column_name(column.name) in before.columns
            ]
            written[name] = Stored({**before.columns, **columns}, table.declared)
    for name, before in stored.items():
        if name not in wanted and before.declared:
            written[name] = Stored(before.columns, "")
    read_again = any(one.declared for one in written.values())
    return Changes(statements, written, read_again, frozenset(fresh))


def _require_types(table: Table, columns: Mapping[str, str], before: Stored) -> None:
    for name, kind in columns.items():
        was = before.columns.get(name, kind)
        if was not in (kind, f"{kind}{_NOT_NULL}"):
            raise SetupProblem(
                f"column {name} of {table_name(table.collection)} is {was}, and is declared as {kind} now", REBUILD
            )
    keys = [name for name, kind in before.columns.items() if kind.startswith("key")]
    if any(name not in columns for name in keys):
        raise SetupProblem(
            f"the rows of {table_name(table.collection)} are named by {', '.join(keys)} no more", REBUILD
        )


def _added(place: sql.Identifier, column: TableColumn) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(place, _definition(column))


def _loosened(place: sql.Identifier, name: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(place, sql.Identifier(name))


def _defaulted(place: sql.Identifier, column: TableColumn) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(
        place, sql.Identifier(column_name(column.name)), _literal(column)
    )
