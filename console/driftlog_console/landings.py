"""Where each decision came to stand in the states that devices read: who has read so far has it.

A device says in its heartbeats how far it has read each partition of states. So when this console's replica sees that a decision is merged, it keeps
how far it had read itself by then: whoever is as far has seen it too. That is kept in a file of the console's folder: after a restart the
replica may be much further, and of a device that went away in between nobody could tell any more.

A place that is lost is found again, further on than it was: then a device that has seen the decision is said to miss it until it is heard again, never
the other way round.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import structlog

from driftlog_console import own_file
from driftlog_edge.agent import EdgeAgent
from driftlog_schemas.messages import Conflict, ConflictStatus

log = structlog.get_logger()

FILE = "landings.sqlite"
MOST = 50_000
"""The oldest go."""
_TABLE = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS landing (
    number INTEGER PRIMARY KEY, conflict TEXT UNIQUE NOT NULL, dot TEXT NOT NULL, place TEXT NOT NULL, position INTEGER NOT NULL,
    topic_id TEXT NOT NULL
);
"""


class Landing(NamedTuple):
    """Who has read `place` (`space/partition`) up to this offset has seen the decision."""

    place: str
    position: int


class Landings:
    """See the module. Of one thread. A file that cannot be used costs the past, and is said once."""

    def __init__(self, folder: Path, agent: EdgeAgent) -> None:
        self._agent = agent
        path = folder / FILE
        try:
            self._db = own_file.opened(path, _TABLE)
        except (OSError, sqlite3.Error) as error:
            log.warning("where decisions landed is not remembered", path=str(path), problem=str(error))
            self._db = sqlite3.connect(":memory:")
            self._db.executescript(_TABLE)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def note(self, conflicts: Iterable[Conflict]) -> None:
        """Keep where these decisions landed, of those that are decided and merged here by now."""
        rows = []
        for conflict in conflicts:
            name = _dot(conflict)
            if name and self._row(conflict.id, name) is None and (row := self._landed(conflict)) is not None:
                rows.append((conflict.id, name, *row))
        if not rows:
            return
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO landing (conflict, dot, place, position, topic_id) VALUES (?, ?, ?, ?, ?)",
                    rows,
                )
                self._db.execute("DELETE FROM landing WHERE number <= (SELECT max(number) FROM landing) - ?", (MOST,))
        except sqlite3.Error as error:  # the place is found again, further on
            log.warning("where decisions landed is not remembered", problem=str(error))

    def of(self, conflict: Conflict) -> Landing | None:
        """Where its decision landed; None where it is not decided, or not merged as far as this replica knows."""
        name = _dot(conflict)
        now = self._landed(conflict) if name else None
        if now is None:
            return None
        kept = self._row(conflict.id, name)
        if kept is None or kept[2] != now[2]:  # the topic was made anew, and counts anew
            return Landing(*now[:2])
        return Landing(*kept[:2])

    def _landed(self, conflict: Conflict) -> tuple[str, int, str] | None:
        by = conflict.decided_by
        assert by is not None, "it is decided"
        found = self._agent.merged_by(conflict.document, by.replica, by.seq)
        return None if found is None else (found.place, found.offset, found.topic_id)

    def _row(self, conflict_id: str, name: str) -> tuple[str, int, str] | None:
        try:
            found: tuple[str, int, str] | None = self._db.execute(
                "SELECT place, position, topic_id FROM landing WHERE conflict = ? AND dot = ?", (conflict_id, name)
            ).fetchone()
        except sqlite3.Error as error:
            log.warning("where decisions landed cannot be read", problem=str(error))
            return None
        return found


def _dot(conflict: Conflict) -> str:
    """Names the write that decided; empty where no person has, or nobody can tell who."""
    by = conflict.decided_by
    return f"{by.replica}:{by.seq}" if by is not None and conflict.status is ConflictStatus.RESOLVED else ""
