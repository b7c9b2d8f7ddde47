"""What was told to the webhook, and what is to be: on this console's disk, so that no deadline is told twice or forgotten whatever ends in between.

That a deadline is told, and the notice that tells it, are written at once. Notices name documents and deadlines, never values.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from driftlog_console.errors import ConsoleError

FILE = "notices.sqlite"
KEPT = 200
"""So many notices that are over are remembered."""
FORGOTTEN_MS = 90 * 86_400_000
"""So long after a deadline nobody asks whether it was told."""
_TABLES = """
CREATE TABLE IF NOT EXISTS told (conflict TEXT NOT NULL, deadline_ms INTEGER NOT NULL, PRIMARY KEY (conflict, deadline_ms)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notice (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, made_ms INTEGER NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL, why TEXT NOT NULL DEFAULT ''
);
"""


class NoticesProblem(ConsoleError):
    """What is remembered of notices cannot be read or written."""


class State(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


class Notice(NamedTuple):
    """One request to the webhook."""

    id: str
    kind: str
    body: str
    """JSON, as it is sent."""
    made_ms: int
    state: State
    attempts: int
    next_ms: int
    """When it is to be tried next."""
    why: str
    """What the last attempt failed of; empty if none did."""


class Deadline(NamedTuple):
    """Until when a conflict is to be decided."""

    conflict: str
    deadline_ms: int


class NoticeMemory:
    """See the module. Every method raises `NoticesProblem`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        with self._told():
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Give the file free."""
        self._db.close()

    def untold(self, deadlines: Sequence[Deadline]) -> list[Deadline]:
        """Those that no notice names."""
        with self._told():
            ask = "SELECT 1 FROM told WHERE conflict = ? AND deadline_ms = ?"
            return [one for one in deadlines if self._db.execute(ask, one).fetchone() is None]

    def add(self, kind: str, body: Mapping[str, Any], now_ms: int, deadlines: Sequence[Deadline] = ()) -> str:
        """A notice to be sent, and the deadlines that it tells; its id, which is in the body as well."""
        notice_id = secrets.token_hex(12)
        text = json.dumps({"id": notice_id, "kind": kind, **body}, ensure_ascii=False)
        with self._told(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO told VALUES (?, ?)", deadlines)
            self._db.execute(
                "INSERT INTO notice (id, kind, body, made_ms, state, next_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (notice_id, kind, text, now_ms, State.WAITING, now_ms),
            )
            self._db.execute("DELETE FROM told WHERE deadline_ms < ?", (now_ms - FORGOTTEN_MS,))
            over = "SELECT id FROM notice WHERE state != ? ORDER BY rowid DESC LIMIT -1 OFFSET ?"
            newest = "SELECT max(rowid) FROM notice GROUP BY kind"  # when that was made counts
            forget = f"DELETE FROM notice WHERE id IN ({over}) AND rowid NOT IN ({newest})"
            self._db.execute(forget, (State.WAITING, KEPT))
        return notice_id

    def due(self, now_ms: int) -> list[Notice]:
        """Those to be tried now, the oldest first."""
        return self._notices("WHERE state = ? AND next_ms <= ? ORDER BY rowid", State.WAITING, now_ms)

    def last(self, limit: int) -> list[Notice]:
        """The newest ones."""
        return self._notices("ORDER BY rowid DESC LIMIT ?", limit)

    def last_made(self, kind: str) -> int:
        """When the last one of a kind was made; 0 for never."""
        with self._told():
            (at,) = self._db.execute("SELECT max(made_ms) FROM notice WHERE kind = ?", (kind,)).fetchone()
        return at or 0

    def tried(self, notice: Notice, state: State, next_ms: int, why: str) -> None:
        """What became of an attempt."""
        with self._told():
            self._db.execute(
                "UPDATE notice SET state = ?, attempts = attempts + 1, next_ms = ?, why = ? WHERE id = ?",
                (state, next_ms, why, notice.id),
            )

    def _notices(self, which: str, *values: Any) -> list[Notice]:
        with self._told():
            found = self._db.execute(
                f"SELECT id, kind, body, made_ms, state, attempts, next_ms, why FROM notice {which}", values
            ).fetchall()
        return [Notice._make(row)._replace(state=State(row[4])) for row in found]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise NoticesProblem(
                f"{self._path} cannot be used: {error}", "check the disk of the console's folder"
            ) from error
