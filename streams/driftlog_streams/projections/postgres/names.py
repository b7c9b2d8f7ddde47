"""What a collection and its fields are called in PostgreSQL. Every name is quoted where it is used.

A table is called as its collection, in lower case with underscores (`StockItem` is `stock_item`), so that SQL needs no quotes; a column as its field. PostgreSQL cuts
names after 63 bytes, whatever follows: so longer ones are cut here, and end with a digest of the whole. Two that would be called the same are
refused, for one would write over the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.tables import Table

MAX_BYTES = 63
_DIGEST_DIGITS = 8
_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that every table of PostgreSQL has."""

OFFSET, UPDATED_AT, CONFLICT_OPEN = "_offset", "_updated_at", "_conflict_open"
BOOKKEEPING = (OFFSET, UPDATED_AT, CONFLICT_OPEN)
POSITIONS, COLLECTIONS = "_positions", "_collections"

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def shortened(name: str) -> str:
    """The name, or as much of it as PostgreSQL takes and a digest of it."""
    data = name.encode()
    if len(data) <= MAX_BYTES:
        return name
    digest = hashlib.blake2b(data, digest_size=_DIGEST_DIGITS // 2).hexdigest()
    return f"{data[: MAX_BYTES - _DIGEST_DIGITS - 1].decode(errors='ignore')}_{digest}"


def table_name(collection: str) -> str:
    """Of a collection."""
    return shortened(_WORD.sub("_", collection).lower())


def column_name(field: str) -> str:
    """Of a field, of a scope or of an id."""
    return shortened(f"{field}_" if field in _SYSTEM else field)


def require_distinct(tables: Iterable[Table]) -> None:
    """Raise `SetupProblem` where two things would be called the same."""
    found = list(tables)
    taken = {POSITIONS: "the projection's own table", COLLECTIONS: "the projection's own table"}
    for table in found:
        _take(taken, table_name(table.collection), f"collection {table.collection}")
        columns = dict.fromkeys(BOOKKEEPING, "the projection's own column")
        for field in (table.scope, table.id, *(column.name for column in table.columns)):
            _take(columns, column_name(field), f"field {table.collection}.{field}")


def _take(taken: dict[str, str], name: str, what: str) -> None:
    other = taken.setdefault(name, what)
    if other != what:
        raise SetupProblem(f"{what} would be called {name!r} in PostgreSQL, as {other} is", "rename one of both")
