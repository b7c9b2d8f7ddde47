"""The tables once more, from the topic's start, in a schema of their own, which then takes the place of the other: readers have the old ones until then, and the new
ones from then on. A live projector goes on meanwhile; it notices the change at its next write, whose move names another `build`.

Readers never see less than before: the live positions are held while the new tables catch up with them, for as long as that takes, and then both schemas are renamed
in one transaction. Renaming takes no lock that a query holds. What was granted on the old tables is granted on the new ones, and the indexes that somebody has made on them
are made again. Views would go on reading the old tables, so while there are any the change is refused, before anything is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg
import structlog
from psycopg import sql

from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.postgres.database import Database, connect, told
from driftlog_streams.projections.postgres.names import POSITIONS, shortened
from driftlog_streams.projections.postgres.settings import PostgresSettings

log = structlog.get_logger()

_VIEWS = """
SELECT DISTINCT format('%%I.%%I', home.nspname, view.relname)
FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
JOIN pg_class view ON view.oid = pg_rewrite.ev_class JOIN pg_namespace home ON home.oid = view.relnamespace
JOIN pg_class kept ON kept.oid = pg_depend.refobjid AND pg_depend.refclassid = 'pg_class'::regclass
JOIN pg_namespace place ON place.oid = kept.relnamespace
WHERE place.nspname = %s AND view.oid <> kept.oid ORDER BY 1
"""
_GRANTS = """
SELECT NULL, granted.privilege_type, CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END, granted.is_grantable
FROM pg_namespace, aclexplode(nspacl) granted WHERE nspname = %(schema)s AND granted.grantee <> nspowner
UNION ALL
SELECT relname, granted.privilege_type, CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END, granted.is_grantable
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl) granted
WHERE nspname = %(schema)s AND relkind = 'r' AND granted.grantee <> relowner
"""

_INDEXES = """
SELECT made.relname, kept.relname, pg_get_indexdef(made.oid), format(' ON %%I.%%I USING ', place.nspname, kept.relname)
FROM pg_index JOIN pg_class made ON made.oid = indexrelid JOIN pg_class kept ON kept.oid = indrelid
JOIN pg_namespace place ON place.oid = kept.relnamespace
WHERE place.nspname = %s AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = made.oid) ORDER BY 1
"""
_LOCK_SECONDS = 30


def shadow_of(schema: str) -> str:
    """Where the tables are built anew."""
    return shortened(f"{schema}_rebuild")


def _before(schema: str) -> str:
    return shortened(f"{schema}_before")


class Swap:
    """Puts what was built in the place of what readers have."""

    def __init__(self, settings: PostgresSettings, schema: str) -> None:
        self._settings, self._schema, self._shadow = settings, schema, shadow_of(schema)

    def begin(self) -> None:
        """Clear the place of what a rebuild before has left. Raises `SetupProblem` where views read the tables, `SinkAway`."""
        with connect(self._settings) as connection, told(self._settings):
            self._require_no_views(connection)
            connection.execute(_drop(self._shadow))

    def finish(self, topic_id: str, catch_up: Callable[[Mapping[int, int]], None]) -> None:
        """`catch_up` brings the new tables to the offsets that it is given, or further. Raises what it raises, `SetupProblem`, `SinkAway`.

        After `SinkAway` it may be called again: nothing was changed, or all of it, and then nothing is left to put anywhere.
        """
        with connect(self._settings) as connection, told(self._settings):
            if not self._exists(connection, self._shadow):
                connection.execute(_drop(_before(self._schema)))
                return
            connection.execute(_drop(_before(self._schema)))
            self._index(connection)
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{_LOCK_SECONDS}s")))
                exists = self._exists(connection, self._schema)
                if exists:
                    self._require_no_views(connection)
                    live = sql.Identifier(self._schema, POSITIONS)
                    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(live))
                    reached = sql.SQL("SELECT partition, next_offset FROM {} WHERE topic_id = %s").format(live)
                    catch_up(dict(connection.execute(reached, [topic_id]).fetchall()))
                    self._grant(connection)
                    connection.execute(_rename(self._schema, _before(self._schema)))
                connection.execute(_rename(self._shadow, self._schema))
            log.info("the tables were built anew and are what readers have", schema=self._schema)
            connection.execute(_drop(_before(self._schema)))

    def _index(self, connection: Database) -> None:
        """Make the indexes of the old tables on the new ones, and let PostgreSQL look at what is in them. One that does not fit any more is left out, and told."""
        for name, table, text, place in connection.execute(_INDEXES, [self._schema]).fetchall():
            there = sql.SQL(" ON {} USING ").format(sql.Identifier(self._shadow, table)).as_string(connection)
            try:
                connection.execute(text.replace(place, there, 1).encode())
            except psycopg.ProgrammingError as error:
                log.warning(
                    "an index does not fit the new tables and is left out", index=name, table=table, why=str(error)
                )
        for table in self._tables(connection):
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self._shadow, table)))

    def _tables(self, connection: Database) -> list[str]:
        """Those that were built."""
        asked = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
        return [name for (name,) in connection.execute(asked, [self._shadow])]

    @staticmethod
    def _exists(connection: Database, schema: str) -> bool:
        asked = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s"
        return connection.execute(asked, (schema, POSITIONS)).fetchone() is not None

    def _require_no_views(self, connection: Database) -> None:
        views = [name for (name,) in connection.execute(_VIEWS, [self._schema])]
        if views:
            raise SetupProblem(
                f"views read the tables of schema {self._schema}, and would go on reading the old ones: {', '.join(views[:10])}",
                "drop them, and create them again afterwards",
            )

    def _grant(self, connection: Database) -> None:
        """Whoever could read the old tables can read the new ones that are called the same."""
        there = set(self._tables(connection))
        for table, privilege, grantee, grantable in connection.execute(_GRANTS, {"schema": self._schema}).fetchall():
            if table is not None and table not in there:
                continue
            what = (
                sql.SQL("SCHEMA {}").format(sql.Identifier(self._shadow))
                if table is None
                else sql.SQL("TABLE {}").format(sql.Identifier(self._shadow, table))
            )
            more = " WITH GRANT OPTION" if grantable else ""
            words = sql.SQL("GRANT {} ON {} TO {}{}")
            connection.execute(words.format(sql.SQL(privilege), what, sql.SQL(grantee), sql.SQL(more)))


def _drop(schema: str) -> sql.Composed:
    return sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))


def _rename(schema: str, name: str) -> sql.Composed:
    return sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), sql.Identifier(name))
