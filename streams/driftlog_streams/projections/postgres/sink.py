"""`sink.Sink` over PostgreSQL: the tables of one space in one schema, and in the same transaction where each partition stands.

**Exactly once.** A transaction writes rows and moves `_positions`; the move says from where, so a writer that is late moves nothing, and its rows are rolled back
with it. After a lost connection nobody knows whether the last one took effect: `claim` reads it.

**One writer a partition.** It holds an advisory lock of its session, which PostgreSQL frees when the session ends, however it ends. Where a pooler shares sessions between
writers the lock means nothing, and the moves still keep them from doubling anything.

**One declaration at a time.** Who writes shares a lock on the layout; who has to change it waits until it has it alone (`layout`). A rebuild that was put in
the place of these tables has another `build`, which the moves name too.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import sql
from psycopg.types.json import Jsonb

from driftlog_schemas.sparing import Sparing
from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.errors import SinkAway, Superseded
from driftlog_streams.projections.postgres.database import Database, connect, lock_number, told
from driftlog_streams.projections.postgres.layout import Stored, changes
from driftlog_streams.projections.postgres.names import COLLECTIONS, POSITIONS, require_distinct
from driftlog_streams.projections.postgres.settings import PostgresSettings
from driftlog_streams.projections.postgres.writing import TableWriter
from driftlog_streams.projections.sink import Group, Position, Row
from driftlog_streams.projections.tables import Table

log = structlog.get_logger()

CHANGE_SECONDS = 5
"""A change of the tables that does not get its locks for so long is tried again later."""
NOT_TAKEN = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
"""What PostgreSQL says of a value that it cannot hold."""

_TABLES = """
CREATE TABLE IF NOT EXISTS {positions} (
    space text NOT NULL, partition int PRIMARY KEY, topic_id text NOT NULL, next_offset bigint NOT NULL,
    settled_to bigint NOT NULL, build uuid NOT NULL, seen_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS {collections} (
    collection text PRIMARY KEY, declared text NOT NULL, columns jsonb NOT NULL, fresh boolean NOT NULL
)"""


class PostgresSink:
    """See the module. `partitions` is how many the space has."""

    def __init__(
        self, settings: PostgresSettings, schema: str, space: str, partitions: int, tables: Mapping[str, Table]
    ) -> None:
        """Raises `SetupProblem` for names that collide."""
        require_distinct(tables.values())
        self.schema = schema
        self._settings, self._space, self._count = settings, space, partitions
        self._tables = tables
        self._positions = sql.Identifier(schema, POSITIONS)
        self._collections = sql.Identifier(schema, COLLECTIONS)
        self._writers = {name: TableWriter(schema, table) for name, table in tables.items()}
        self._connection: Database | None = None
        self._build = ""
        self._settled: dict[int, int] = {}
        """Below which offset the rows of a partition are there already."""
        self._fresh: frozenset[str] = frozenset()
        self._refused = Sparing(log, "PostgreSQL does not take a row, and it is passed over")

    # -- opening

    def open(self) -> None:
        self.close()
        self._connection = connect(self._settings)
        with told(self._settings):
            self._lay(self._connection)
            for writer in self._writers.values():
                writer.prepare(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _lay(self, connection: Database) -> None:
        """Have the tables, and the shared lock that keeps them as they are."""
        layout = lock_number(self.schema, "layout")
        if self._stands_as_wanted(connection) and _got(connection, "pg_try_advisory_lock_shared", layout):
            if self._stands_as_wanted(connection):
                self._look(connection)
                return
            connection.execute("SELECT pg_advisory_unlock_shared(%s)", [layout])
        if not _got(connection, "pg_try_advisory_lock", layout):
            raise SinkAway(
                f"schema {self.schema} is to be changed, and somebody writes into it",
                "stop the other projector of this space",
            )
        with connection.transaction():
            # Who waits for a long query here holds up all readers that come after it.
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{CHANGE_SECONDS}s")))
            self._change(connection)
        connection.execute("SELECT pg_advisory_lock_shared(%s)", [layout])
        connection.execute("SELECT pg_advisory_unlock(%s)", [layout])
        self._look(connection)

    def _stands_as_wanted(self, connection: Database) -> bool:
        if not _there(connection, self.schema, COLLECTIONS):
            return False
        stored = self._stored(connection)
        return {name: one.declared for name, one in stored.items() if one.declared} == {
            name: table.declared for name, table in self._tables.items()
        }

    def _stored(self, connection: Database) -> dict[str, Stored]:
        query = sql.SQL("SELECT collection, columns, declared FROM {}").format(self._collections)
        return {name: Stored(dict(columns), declared) for name, columns, declared in connection.execute(query)}

    def _change(self, connection: Database) -> None:
        """Within a transaction, and with the layout's lock."""
        if not _there(connection, self.schema, POSITIONS):
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
            made = sql.SQL(_TABLES).format(positions=self._positions, collections=self._collections)
            connection.execute(made)
            build = uuid.uuid4()
            fresh_row = sql.SQL("INSERT INTO {} VALUES (%s, %s, '', 0, 0, %s, now())").format(self._positions)
            with connection.cursor() as cursor:
                cursor.executemany(fresh_row, [(self._space, number, build) for number in range(self._count)])
        wanted = changes(self.schema, self._tables.values(), self._stored(connection))
        for statement in wanted.statements:
            log.info("the tables change", statement=statement.as_string(connection))
            connection.execute(statement)
        if wanted.read_again:
            self._read_again(connection)
        keep = sql.SQL(
            "INSERT INTO {} VALUES (%s, %s, %s, %s) ON CONFLICT (collection)"
            " DO UPDATE SET declared = excluded.declared, columns = excluded.columns, fresh = excluded.fresh"
        ).format(self._collections)
        for name, one in wanted.written.items():
            connection.execute(keep, (name, one.declared, Jsonb(list(one.columns.items())), name in wanted.fresh))

    def _read_again(self, connection: Database) -> None:
        """From the start; what is settled stays so. Tables that were still being filled with rows go on with that."""
        done = sql.SQL("SELECT bool_and(next_offset >= settled_to) FROM {}").format(self._positions)
        if _one(connection, done):
            connection.execute(sql.SQL("UPDATE {} SET fresh = false").format(self._collections))
        connection.execute(
            sql.SQL("UPDATE {} SET settled_to = greatest(settled_to, next_offset), next_offset = 0").format(
                self._positions
            )
        )

    def _look(self, connection: Database) -> None:
        """Raises `SetupProblem` for a schema that holds something else."""
        found = connection.execute(
            sql.SQL("SELECT DISTINCT space, build::text, count(*) OVER () FROM {}").format(self._positions)
        ).fetchall()
        if [(space, count) for space, _, count in found] != [(self._space, self._count)] * len(found) or not found:
            raise SetupProblem(
                f"schema {self.schema} holds the projection of space {found[0][0] if found else '(none)'}"
                f" with {found[0][2] if found else 0} partitions, not of {self._space} with {self._count}",
                "choose another --schema",
            )
        self._build = found[0][1]
        fresh = sql.SQL("SELECT collection FROM {} WHERE fresh").format(self._collections)
        self._fresh = frozenset(name for (name,) in connection.execute(fresh))

    # -- writing

    def claim(self, partitions: Collection[int]) -> Mapping[int, Position]:
        connection = self._connected()
        with told(self._settings):
            mine = [number for number in sorted(partitions) if self._lock(connection, number)]
            where = sql.SQL(
                "SELECT partition, next_offset, topic_id, settled_to, extract(epoch FROM now() - seen_at)::float8"
                " FROM {} WHERE partition = ANY(%s) AND build = %s"
            ).format(self._positions)
            found = connection.execute(where, (mine, self._build)).fetchall()
        if len(found) != len(mine):
            raise Superseded(f"other tables were put in the place of those of schema {self.schema}")
        self._settled |= {number: settled for number, _, _, settled, _ in found}
        return {number: Position(offset, topic_id, age) for number, offset, topic_id, _, age in found}

    def _lock(self, connection: Database, partition: int) -> bool:
        return _got(connection, "pg_try_advisory_lock", lock_number(self.schema, str(partition)))

    def rows(self, groups: Sequence[Group]) -> None:
        connection = self._connected()
        with told(self._settings):
            try:
                self._write(connection, groups)
            except NOT_TAKEN:
                self._write(connection, [self._takeable(connection, group) for group in groups])

    def _write(self, connection: Database, groups: Sequence[Group]) -> None:
        with connection.transaction():
            for group in groups:
                self._move(connection, group)
            found = self._sorted(groups)
            for collection, fill in sorted(found, key=lambda one: not one[1]):  # what fills comes first
                self._writers[collection].write(connection, found[collection, fill], fill=fill)

    def _sorted(self, groups: Sequence[Group]) -> dict[tuple[str, bool], list[Row]]:
        """By table, and whether they only fill it."""
        found: dict[tuple[str, bool], list[Row]] = {}
        for group in groups:
            settled = self._settled[group.partition]
            for row in group.rows:
                name = row.document.collection
                fill = row.offset < settled and name not in self._fresh
                found.setdefault((name, fill), []).append(row)
        return found

    def _move(self, connection: Database, group: Group) -> None:
        move = sql.SQL(
            "UPDATE {} SET next_offset = %s, topic_id = %s, seen_at = now()"
            " WHERE partition = %s AND next_offset = %s AND topic_id IN ('', %s) AND build = %s"
        ).format(self._positions)
        given = (group.end, group.topic_id, group.partition, group.start, group.topic_id, self._build)
        if connection.execute(move, given).rowcount != 1:
            raise Superseded(
                f"partition {group.partition} does not stand at {group.start} any more: somebody else writes it"
            )

    def _takeable(self, connection: Database, group: Group) -> Group:
        """The group without the rows that PostgreSQL does not take, each of which is told."""
        good = []
        for row in group.rows:
            try:
                with connection.transaction(force_rollback=True):
                    self._writers[row.document.collection].write(connection, [row], fill=False)
                good.append(row)
            except NOT_TAKEN as error:
                self._refused(
                    partition=group.partition, offset=row.offset, document="/".join(row.document), why=str(error)
                )
        return Group(group.partition, group.topic_id, group.start, group.end, good)

    def _connected(self) -> Database:
        assert self._connection is not None, "opened"
        return self._connection


def _got(connection: Database, function: str, number: int) -> bool:
    return bool(_one(connection, sql.SQL("SELECT {}(%s)").format(sql.Identifier(function)), number))


def _there(connection: Database, schema: str, table: str) -> bool:
    return bool(
        _one(
            connection,
            sql.SQL("SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s)"),
            schema,
            table,
        )
    )


def _one(connection: Database, query: sql.SQL | sql.Composed, *given: Any) -> Any:
    found = connection.execute(query, given).fetchone()
    return None if found is None else found[0]
