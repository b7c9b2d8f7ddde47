"""What became of decisions that were held, of those that were never sent: undone, refused when they were due, or lost because the console ended.

It is kept on this console's disk, so that a console that was killed can say which decisions it has not sent. Ids and names only: values and reasons of
what is held stay in memory.
"""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import structlog

from driftlog_console import own_file
from driftlog_console.deciding import Asked
from driftlog_console.errors import ConsoleError

log = structlog.get_logger()

FILE = "held.sqlite"
MOST = 10_000
"""Conflicts; those asked about longest ago go."""
_TABLE = """
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS held (
    conflict TEXT PRIMARY KEY, person TEXT NOT NULL, mark TEXT NOT NULL, times INTEGER NOT NULL, made_ms INTEGER NOT NULL, ended TEXT NOT NULL,
    text TEXT NOT NULL
);
"""


class HeldProblem(ConsoleError):
    """Nothing can be held, since nobody could tell afterwards that it was not sent."""

    status = 503


class End(StrEnum):
    """Why a decision was not sent."""

    NONE = ""
    """It is held still."""
    UNDONE = "undone"
    REFUSED = "refused"
    LOST = "lost"
    """The console ended before it was due."""


class Unsent(NamedTuple):
    """The last decision about a conflict, which was held and not sent."""

    person: str
    mark: str
    times: int
    made_ms: int
    end: End
    text: str
    """Who has undone it, or why it was refused."""


class HeldMemory:
    """See the module. Of one thread. What was held when the last one ended is lost."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            self._db = own_file.opened(path, _TABLE)
            with self._db:
                self._db.execute("UPDATE held SET ended = ? WHERE ended = ?", (End.LOST, End.NONE))
        except (OSError, sqlite3.Error) as error:
            raise HeldProblem(
                f"{path} cannot be read or written: {error}", "give the disk room; or remove it"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def add(self, asked: Asked) -> None:
        """This is held from now on. Raises `HeldProblem`."""
        row = (asked.conflict, asked.person, asked.mark, asked.times, asked.made_ms, End.NONE, "")
        old = "SELECT conflict FROM held ORDER BY made_ms DESC LIMIT -1 OFFSET ?"
        try:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                self._db.execute(f"DELETE FROM held WHERE conflict IN ({old})", (MOST,))
        except sqlite3.Error as error:
            raise HeldProblem(f"what is held cannot be noted: {error}", "give the disk room") from error

    def end(self, conflict_id: str, end: End, text: str) -> None:
        """It is not sent. Where that cannot be written, the next console says that it was lost, which is as true."""
        self._write("UPDATE held SET ended = ?, text = ? WHERE conflict = ?", end, text, conflict_id)

    def forget(self, conflict_id: str) -> None:
        """It was sent. Where that cannot be written, the command itself says so."""
        self._write("DELETE FROM held WHERE conflict = ?", conflict_id)

    def of(self, conflict_id: str) -> Unsent | None:
        """What was not sent of this conflict; None also while it is held."""
        asked = "SELECT person, mark, times, made_ms, ended, text FROM held WHERE conflict = ? AND ended != ?"
        try:
            row = self._db.execute(asked, (conflict_id, End.NONE)).fetchone()
        except sqlite3.Error as error:
            log.warning("what was not sent cannot be read", problem=str(error))
            return None
        if row is None:
            return None
        person, mark, times, made_ms, end, text = row
        return Unsent(person, mark, times, made_ms, End(end), text)

    def _write(self, text: str, *given: object) -> None:
        try:
            with self._db:
                self._db.execute(text, given)
        except sqlite3.Error as error:
            log.warning("what became of a decision that was held is not noted", problem=str(error))
