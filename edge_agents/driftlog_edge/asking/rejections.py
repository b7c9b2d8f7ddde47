"""Commands that were rejected after they had been answered, until somebody has looked at them.

Whoever gave such a command has its answer and is gone; that it had no effect in the end nobody is told who does not ask. So each is marked when its verdict
comes, the newest first, and the mark goes when a person says that it was seen, or with the command itself when the log forgets it (`store/pruning`).
What a person has dropped is not marked: it was seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from driftlog_edge.asking.executor import Executed
from driftlog_edge.asking.op_log import Line
from driftlog_edge.asking.pages import COMMANDS_BYTES, check_limit, page_of
from driftlog_edge.errors import NotFound
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import entry_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import decode_logged
from driftlog_edge.turns import in_turns


class Rejections:
    """The marked commands of one replica."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def page(self, limit: int, before: int) -> tuple[list[Line], bool]:
        """Some of them, newest first from before the command of that number (0 for the newest); are there more?"""
        check_limit(limit)
        after = keys.rejected_key(before) if before else b""
        return await in_turns(page_of(self._scan, self._line, limit, after, COMMANDS_BYTES))

    def seen(self, command_id: str) -> Executed:
        """A person has looked at one; stage the writes at once. Raises `NotFound`."""
        entry = entry_of(self._journal, command_id)
        if entry is None or self._journal.get(Family.META, keys.rejected_key(entry.lsn)) is None:
            raise NotFound(f"command {command_id!r} is not among the rejected ones that nobody has looked at")
        return Executed(command_id, entry, {(Family.META, keys.rejected_key(entry.lsn)): None})

    def _scan(self, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._journal.scan(Family.META, keys.REJECTED, after)

    def _line(self, key: bytes, command_id: bytes) -> tuple[Line, int] | None:
        """What the list says of a command, and its bytes; None for one that is forgotten at this moment."""
        lsn, entry = keys.parse_rejected(key), entry_of(self._journal, command_id.decode())
        raw = self._journal.get(Family.OPLOG, keys.lsn_key(lsn))
        return None if entry is None or raw is None else (Line(lsn, decode_logged(raw).command, entry), len(raw))
