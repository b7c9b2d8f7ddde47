"""Rows into tables: COPY into a staging table, and from there in one statement a collection.

Below the offset up to which a partition was projected before a declaration changed, its records are read a second time, to fill what is new. The tables have the
outcome of all of them already, so nothing goes back: a record fills a row only where it is the very record that the row was made from. In a table that is
new the records make rows as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from psycopg import Connection, sql

from driftlog_streams.projections.postgres.layout import column_type, to_sql
from driftlog_streams.projections.postgres.names import (
    BOOKKEEPING,
    CONFLICT_OPEN,
    OFFSET,
    UPDATED_AT,
    column_name,
    shortened,
    table_name,
)
from driftlog_streams.projections.sink import Row
from driftlog_streams.projections.tables import Table

_BOOKKEPT = ("bigint", "timestamptz", "boolean")
"""The types of `BOOKKEEPING`."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


class TableWriter:
    """One collection, over one connection."""

    def __init__(self, schema: str, table: Table) -> None:
        self._columns = [(column.name, to_sql(column.kind)) for column in table.columns]
        name = table_name(table.collection)
        target = sql.Identifier(schema, name)
        staging = sql.Identifier(shortened(f"staged {name}"))
        keys = [column_name(table.scope), column_name(table.id)]
        columns = [*keys, *(column_name(column.name) for column in table.columns), *BOOKKEEPING]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        values = [column for column in columns if column not in keys]
        key = sql.SQL(", ").join(map(sql.Identifier, keys))
        same_key = sql.SQL(" AND ").join(_equal("kept", "staged", one) for one in keys)
        types = ["text", "text", *map(column_type, table.columns), *_BOOKKEPT]
        made = [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(t)) for n, t in zip(columns, types, strict=True)]
        # By the declaration: where somebody has altered a column, it is the table that does not take what is put into it, and no row is at fault.
        self._stage = sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS").format(
            staging, sql.SQL(", ").join(made)
        )
        self._look = sql.SQL("SELECT {} FROM {} LIMIT 0").format(names, target)
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN").format(staging, names)
        self._put = sql.SQL(
            "INSERT INTO {target} AS kept ({names}) SELECT {names} FROM {staging} ON CONFLICT ({key}) DO UPDATE SET {sets}"
        ).format(target=target, names=names, staging=staging, key=key, sets=_sets("excluded", values))
        self._fill = sql.SQL(
            "UPDATE {target} AS kept SET {sets} FROM {staging} AS staged WHERE {same_key} AND {same_record}"
        ).format(
            target=target,
            sets=_sets("staged", values),
            staging=staging,
            same_key=same_key,
            same_record=_equal("kept", "staged", OFFSET),
        )
        self._delete = sql.SQL(
            "DELETE FROM {target} AS kept USING unnest(%s::text[], %s::text[]) AS gone (scope, id) "
            "WHERE kept.{scope} = gone.scope AND kept.{id} = gone.id"
        ).format(target=target, scope=sql.Identifier(keys[0]), id=sql.Identifier(keys[1]))
        self._clear = sql.SQL("TRUNCATE {}").format(staging)
        assert values[-3:] == [OFFSET, UPDATED_AT, CONFLICT_OPEN], "the order of `_line`"

    def prepare(self, connection: Connection[Any]) -> None:
        """Once for each connection. Raises psycopg's errors for a table, or a column of it, that is not there."""
        connection.execute(self._look)
        connection.execute(self._stage)

    def write(self, connection: Connection[Any], rows: Sequence[Row], *, fill: bool) -> None:
        """Put and delete what these rows say; with `fill` only complete those that were made from the same records. Within the caller's transaction."""
        there = [row for row in rows if row.values is not None]
        if there:
            with connection.cursor() as cursor:
                with cursor.copy(self._copy) as copy:
                    for row in there:
                        copy.write_row(self._line(row))
                cursor.execute(self._fill if fill else self._put)
                if fill:  # else nothing comes after it in the transaction
                    cursor.execute(self._clear)
        gone = [row.document for row in rows if row.values is None]
        if gone and not fill:
            connection.execute(self._delete, ([one.scope for one in gone], [one.id for one in gone]))

    def _line(self, row: Row) -> list[Any]:
        values: Mapping[str, Any] = row.values or {}
        line: list[Any] = [row.document.scope, row.document.id]
        for name, convert in self._columns:
            value = values[name]
            line.append(value if convert is None or value is None else convert(value))
        line += (row.offset, _moment(row.at_ms), row.disputed)
        return line


@lru_cache(maxsize=1 << 12)
def _moment(at_ms: int) -> datetime:
    """Records are published many at a time. A writer's own time, where a topic keeps those, may be one that no calendar has."""
    return _EPOCH + timedelta(milliseconds=min(max(at_ms, 0), _LAST_MS))


def _equal(one: str, other: str, column: str) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(one, column), sql.Identifier(other, column))


def _sets(source: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Identifier(source, column)) for column in columns
    )
