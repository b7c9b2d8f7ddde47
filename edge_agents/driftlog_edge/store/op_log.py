"""The op log as people read it: what was asked on this device, by whom, what it changed, and what became of it.

Commands stand under dense numbers, so a page from the end needs no search, and those that are pending come from the backlog's runs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from driftlog_edge.ports import Family, Store
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.command_log import Entry, entry_of
from driftlog_edge.store.logged import decode_logged
from driftlog_edge.turns import in_turns
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.messages import Command

MAX_LINES = 1000
READ_AT_ONCE = 50
"""Commands of a page that are read in one turn."""


@dataclass(frozen=True, slots=True)
class Line:
    """One command of the log. `entry.status` is as far as receipts have told."""

    lsn: int
    command: Command
    entry: Entry


class OpLog:
    """The op log of one replica, to read."""

    def __init__(self, store: Store, backlog: Backlog) -> None:
        """Of what is durable; what waits for the disk is not shown."""
        self._store = store
        self._backlog = backlog

    async def last(self, limit: int, before: int = 0) -> list[Line]:
        """The last commands (before number `before`, if given), oldest first."""
        _check(limit)
        clock = self._store.get(Family.META, keys.CLOCK)
        newest = keys.unpack_number(clock[8:]) if clock else 0
        end = min(newest, before - 1) if before else newest
        return await in_turns(self._lines(range(max(1, end - limit + 1), end + 1)))

    async def pending(self, limit: int, after: int = 0) -> list[Line]:
        """Those that the confirmed state lacks (after number `after`), oldest first."""
        _check(limit)
        return await in_turns(self._lines(self._backlog.after(after, limit)))

    def _lines(self, lsns: Sequence[int]) -> Generator[None, None, list[Line]]:
        found = []
        for first in range(0, len(lsns), READ_AT_ONCE):
            if first:
                yield
            for lsn in lsns[first : first + READ_AT_ONCE]:
                raw = self._store.get(Family.OPLOG, keys.lsn_key(lsn))
                if raw is None:
                    continue  # decided, and not durable yet; or pruned
                command = decode_logged(raw).command
                entry = entry_of(self._store, command.id)
                if entry is not None:  # or it is pruned at this moment
                    found.append(Line(lsn, command, entry))
        return found


def _check(limit: int) -> None:
    if not 1 <= limit <= MAX_LINES:
        raise InvalidInput("limit", f"is 1 to {MAX_LINES}")
