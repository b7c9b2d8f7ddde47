"""A sink that a user might write: one SQLite file, one table of all documents as JSON. Four methods, and rows and position are one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from driftlog_streams.projections.errors import SinkAway, Superseded
from driftlog_streams.projections.sink import START, Group, Position


class SqliteSink:
    """For one writer at a time: the file's own lock sees to that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        self.close()
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._db.execute("CREATE TABLE IF NOT EXISTS position (partition PRIMARY KEY, next, topic, seen)")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS document (collection, scope, id, value, PRIMARY KEY (collection, scope, id))"
            )
        except sqlite3.OperationalError as error:
            raise SinkAway(str(error)) from error

    def claim(self, partitions: Collection[int]) -> Mapping[int, Position]:
        found = {
            number: Position(at, topic, time.time() - seen)
            for number, at, topic, seen in self.db.execute("SELECT partition, next, topic, seen FROM position")
        }
        return {number: found.get(number, START) for number in partitions}

    def rows(self, groups: Sequence[Group]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for group in groups:
                self._apply(group)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _apply(self, group: Group) -> None:
        stands = self.db.execute("SELECT next FROM position WHERE partition = ?", [group.partition]).fetchone()
        if (0 if stands is None else stands[0]) != group.start:
            raise Superseded(f"partition {group.partition} stands elsewhere")
        self.db.execute(
            "REPLACE INTO position VALUES (?, ?, ?, ?)", [group.partition, group.end, group.topic_id, time.time()]
        )
        for row in group.rows:
            if row.values is None:
                self.db.execute("DELETE FROM document WHERE (collection, scope, id) = (?, ?, ?)", row.document)
            else:
                value = json.dumps(row.values, default=str)
                self.db.execute("REPLACE INTO document VALUES (?, ?, ?, ?)", [*row.document, value])

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def db(self) -> sqlite3.Connection:
        assert self._db is not None, "opened"
        return self._db
