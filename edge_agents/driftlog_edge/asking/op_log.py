"""The op log as people read it: what was asked on this device, by whom, what it changed, and what became of it.

Commands stand under dense numbers, so a page from the end needs no search, and those that are pending come from the backlog's runs. Numbers that
were pruned are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from driftlog_edge.asking.pages import COMMANDS_BYTES, READ_AT_ONCE, check_limit, page_of
from driftlog_edge.asking.waiting import NOTHING, Waiting, WaitsFor
from driftlog_edge.ports import Family, Store
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.command_log import Entry, entry_of
from driftlog_edge.store.logged import decode_logged
from driftlog_edge.turns import in_turns
from driftlog_schemas.messages import Command


@dataclass(frozen=True, slots=True)
class Line:
    """One command of the log. `entry.status` is as far as receipts have told."""

    lsn: int
    command: Command
    entry: Entry
    waits: WaitsFor = NOTHING


class LogPage(NamedTuple):
    """Commands of the log, oldest first. It ends earlier than asked for where they are large."""

    lines: list[Line]
    next: int | None
    """From where the following page goes on; None at the end."""


class OpLog:
    """The op log of one replica, to read."""

    def __init__(self, store: Store, backlog: Backlog, waiting: Waiting) -> None:
        """Of what is durable; what waits for the disk is not shown."""
        self._waiting = waiting
        self._store = store
        self._backlog = backlog

    async def last(self, limit: int, before: int = 0) -> LogPage:
        """The last commands; before number `before`, which is the `next` of the page that was read last, if given."""
        newest = keys.unpack_pair(self._store.get(Family.META, keys.CLOCK))[1]
        oldest = next((keys.parse_lsn(key) for key, _ in self._store.scan(Family.OPLOG, b"")), newest + 1)
        start = min(before or newest + 1, newest + 1)
        page = await self._page(lambda lsn: self._found(range(lsn - 1, oldest - 1, -1)), limit, start)
        page.lines.reverse()
        return page

    async def pending(self, limit: int, after: int = 0) -> LogPage:
        """Those that the confirmed state lacks; after number `after`, which is the `next` of the page that was read last."""
        return await self._page(lambda lsn: self._found(self._backlog.after(lsn, READ_AT_ONCE + 1)), limit, after)

    def of(self, command_id: str) -> Line | None:
        """One command; None where none of this id was given, or it is pruned."""
        entry = entry_of(self._store, command_id)
        raw = None if entry is None else self._store.get(Family.OPLOG, keys.lsn_key(entry.lsn))
        return None if entry is None or raw is None else Line(entry.lsn, decode_logged(raw).command, entry)

    async def _page(self, scan: Callable[[int], Iterator[tuple[int, bytes | None]]], limit: int, start: int) -> LogPage:
        check_limit(limit)
        lines, more = await in_turns(page_of(scan, self._line, limit, start, COMMANDS_BYTES))
        return LogPage(lines, lines[-1].lsn if more else None)

    def _found(self, lsns: range | list[int]) -> Iterator[tuple[int, bytes | None]]:
        return ((lsn, self._store.get(Family.OPLOG, keys.lsn_key(lsn))) for lsn in lsns)

    def _line(self, lsn: int, raw: bytes | None) -> tuple[Line, int] | None:
        if raw is None:
            return None  # decided, and not durable yet; or pruned
        command = decode_logged(raw).command
        entry = entry_of(self._store, command.id)
        if entry is None:
            return None  # or it is pruned at this moment
        return Line(lsn, command, entry, self._waiting.of(lsn, entry.status, command.ops[0][0])), len(raw)
