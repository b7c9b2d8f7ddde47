"""The decisions about whole groups, on this console's disk: what was asked, of which conflicts, and what became of each.

They outlive the process, so that a group that was decided is decided whole whatever ends in between. What is kept names conflicts, scopes and
reasons; values stay in the replica's store, which may be encrypted.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from driftlog_console import own_file
from driftlog_console.errors import ConsoleError
from driftlog_streams.reading.conflict_lists import Filter, Line, Which

FILE = "groups.sqlite"
KEPT = 200
"""So many group decisions are remembered; the oldest that are over go."""
_TABLES = """
CREATE TABLE IF NOT EXISTS decision (
    id TEXT PRIMARY KEY, person TEXT NOT NULL, which TEXT NOT NULL, wanted TEXT NOT NULL, choice TEXT NOT NULL, reason TEXT NOT NULL,
    made_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS item (
    decision TEXT NOT NULL REFERENCES decision (id) ON DELETE CASCADE, place INTEGER NOT NULL, conflict TEXT NOT NULL, mark TEXT NOT NULL,
    scope TEXT NOT NULL, done INTEGER, text TEXT NOT NULL DEFAULT '', PRIMARY KEY (decision, place)
) WITHOUT ROWID;
"""


class GroupsProblem(ConsoleError):
    """What is remembered of group decisions cannot be read or written."""


class State(StrEnum):
    """How far a group decision has come."""

    WAITING = "waiting"
    """Nothing was decided yet; it can be undone."""
    RUNNING = "running"
    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """What was asked, and how far it has come."""

    id: str
    person: str
    which: Which
    wanted: Filter
    choice: str
    reason: str
    made_ms: int
    due_ms: int
    """When the first conflict is decided."""
    state: State


class Item(NamedTuple):
    """One conflict of a group."""

    place: int
    conflict: str
    mark: str
    scope: str
    done: bool | None
    """None: not come to yet."""
    text: str
    """What was chosen (the name of a version), or why it was not decided."""


class Tally(NamedTuple):
    """How many of a group are decided, were not, and are still to come."""

    decided: int
    refused: int
    left: int

    @property
    def all(self) -> int:
        """Of the group."""
        return sum(self)


class GroupMemory:
    """See the module. Of one thread. Raises `GroupsProblem`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            script = f"PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; {_TABLES}"
            self._db = own_file.opened(self._path, script, autocommit=True)
        except (OSError, sqlite3.Error) as error:
            raise self._problem(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def add(
        self,
        person: str,
        which: Which,
        wanted: Filter,
        choice: str,
        reason: str,
        made_ms: int,
        due_ms: int,
        lines: Iterable[Line],
    ) -> str:
        """Keep what was asked; its id."""
        name = secrets.token_hex(8)
        given = (name, person, which, json.dumps(wanted.items()), choice, reason, made_ms, due_ms, State.WAITING)
        items = ((name, place, line.id, line.mark, line.document.scope) for place, line in enumerate(lines))
        old = f"SELECT id FROM decision WHERE state IN ('done', 'undone') ORDER BY made_ms DESC LIMIT -1 OFFSET {KEPT - 1}"

        def write() -> None:
            self._db.execute(f"DELETE FROM decision WHERE id IN ({old})")
            self._db.execute("INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", given)
            self._db.executemany(
                "INSERT INTO item (decision, place, conflict, mark, scope) VALUES (?, ?, ?, ?, ?)", items
            )

        self._whole(write)
        return name

    def get(self, name: str) -> GroupDecision | None:
        """One of them."""
        return next(iter(self._read("WHERE id = ?", name)), None)

    def last(self, limit: int) -> list[GroupDecision]:
        """The last ones, the newest first."""
        return self._read("ORDER BY made_ms DESC LIMIT ?", limit)

    def next(self) -> GroupDecision | None:
        """The one that is to be worked on: what has begun first, then by when it is due."""
        order = "WHERE state IN ('running', 'waiting') ORDER BY state = 'waiting', due_ms LIMIT 1"
        return next(iter(self._read(order)), None)

    def open(self) -> int:
        """How many are not over."""
        return int(self._ask("SELECT count(*) FROM decision WHERE state IN ('running', 'waiting')")[0][0])

    def move(self, name: str, before: State, after: State) -> bool:
        """From one state to another; False where it was in neither the one nor is it there."""
        moved = 0

        def write() -> None:
            nonlocal moved
            changed = self._db.execute(
                "UPDATE decision SET state = ? WHERE id = ? AND state = ?", (after, name, before)
            )
            moved = changed.rowcount

        self._whole(write)
        return moved == 1

    def todo(self, name: str, limit: int) -> list[Item]:
        """Some of those that were not come to yet."""
        return self._items("decision = ? AND done IS NULL ORDER BY place LIMIT ?", name, limit)

    def record(self, name: str, outcomes: Sequence[tuple[Item, bool, str]]) -> None:
        """What became of these."""
        rows = [(done, text, name, item.place) for item, done, text in outcomes]
        self._whole(
            lambda: self._db.executemany("UPDATE item SET done = ?, text = ? WHERE decision = ? AND place = ?", rows)
        )

    def page(self, name: str, scopes: Sequence[str] | None, *, refused: bool, start: int, limit: int) -> list[Item]:
        """Some of its conflicts, in their order: of these scopes (None: of all), and only those that were not decided if asked so."""
        seen, given = _among(scopes)
        only = " AND done = 0" if refused else ""
        return self._items(f"decision = ?{only}{seen} ORDER BY place LIMIT ? OFFSET ?", name, *given, limit, start)

    def tally(self, name: str, scopes: Sequence[str] | None) -> Tally:
        """How far it has come, in these scopes."""
        seen, given = _among(scopes)
        counts = dict(
            self._ask(f"SELECT done, count(*) FROM item WHERE decision = ?{seen} GROUP BY done", name, *given)
        )
        return Tally(counts.get(1, 0), counts.get(0, 0), counts.get(None, 0))

    def _items(self, where: str, *given: object) -> list[Item]:
        found = self._ask(f"SELECT place, conflict, mark, scope, done, text FROM item WHERE {where}", *given)
        return [
            Item(place, conflict, mark, scope, None if done is None else bool(done), text)
            for place, conflict, mark, scope, done, text in found
        ]

    def _read(self, where: str, *given: object) -> list[GroupDecision]:
        found = self._ask(
            f"SELECT id, person, which, wanted, choice, reason, made_ms, due_ms, state FROM decision {where}", *given
        )
        return [_decision(*row) for row in found]

    def _ask(self, text: str, *given: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(text, given).fetchall()
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def _whole(self, write: Callable[[], object]) -> None:
        """All of it or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                write()
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> GroupsProblem:
        return GroupsProblem(
            f"the group decisions in {self._path} cannot be read or written: {error}",
            "give the disk room; or remove the file: what was decided stays decided",
        )


def _decision(
    id: str, person: str, which: Which, wanted: str, choice: str, reason: str, made_ms: int, due_ms: int, state: str
) -> GroupDecision:
    asked = Filter.of(json.loads(wanted))
    return GroupDecision(id, person, which, asked, choice, reason, made_ms, due_ms, State(state))


def _among(scopes: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    if scopes is None:
        return "", ()
    return f" AND scope IN ({', '.join('?' * len(scopes))})", tuple(scopes)
