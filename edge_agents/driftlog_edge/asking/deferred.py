"""What the cloud has put off, with what stands behind it on its documents: told with its reason, and given up when a person says so.

It waits for the cloud to change: a release that declares a field, a permit that is renewed. Where that will not come it would wait for ever, and so would
all that follows on its documents. A person may give a command up; its answer is then `dropped`, with the reason, and it has no effect.

Its changes were promised under dots that nobody has seen, and others of ours were written behind them. So the partition goes on under a new life, in
which there is no hole; what was built on the command, and was not taken, runs again on a view without it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

import structlog

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.executor import Executed
from driftlog_edge.asking.op_log import Line
from driftlog_edge.asking.pages import COMMANDS_BYTES, check_limit, page_of
from driftlog_edge.asking.waiting import CLOUD, WaitsFor
from driftlog_edge.errors import NotFound
from driftlog_edge.incoming.outcome_codes import DROPPED
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry, Status, entry_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import GIVEN_UP
from driftlog_edge.store.logged import Logged, changed_keys, decode_logged, logged
from driftlog_edge.turns import in_turns
from driftlog_schemas.bounds import MAX_REASON
from driftlog_schemas.running import check_name

log = structlog.get_logger()


class Deferred:
    """The held commands of one replica, for people."""

    def __init__(self, again: Again, outbox: Outbox, journal: Journal) -> None:
        self._again = again
        self._outbox = outbox
        self._journal = journal

    async def page(self, limit: int, after: int) -> tuple[list[Line], bool]:
        """Some of them, oldest first from after the command of that number; are there more?"""
        check_limit(limit)
        return await in_turns(page_of(self._scan, self._line, limit, after, COMMANDS_BYTES))

    def _scan(self, after: int) -> Iterator[tuple[int, bytes | None]]:
        queues = [
            self._outbox.queue.entries.held_lsns(*place, after) for place in list(self._outbox.queue.held.partitions)
        ]
        return ((lsn, self._journal.get(Family.OPLOG, keys.lsn_key(lsn))) for lsn in heapq.merge(*queues))

    def _line(self, lsn: int, raw: bytes | None) -> tuple[Line, int]:
        assert raw is not None, f"command {lsn} waits but is not in the op log"
        found = decode_logged(raw)
        entry = entry_of(self._journal, found.command.id)
        assert entry is not None, "what waits is in the command log"
        return Line(lsn, found.command, entry, WaitsFor(CLOUD)), found.size

    def drop(self, command_id: str, reason: str) -> Executed:
        """Give one up; stage the writes at once. Raises `NotFound`, `InvalidInput`."""
        check_name("reason", reason, MAX_REASON)
        entry, found, place = self._held(command_id)
        documents = changed_keys(found.command)
        dropped = entry.with_status(Status.REJECTED, DROPPED, f"a person dropped it: {reason}")
        writes = self._again.take_back(*place, documents)  # the command itself, too
        writes[Family.META, keys.again_key(entry.lsn)] = None
        writes[Family.COMMANDS, command_id.encode()] = dropped.encode()
        chain = self._outbox.lives.chain(*place)
        if not chain.fork:
            writes.update(self._outbox.lives.written(*place, replace(chain, fork=GIVEN_UP)))
        log.warning("a deferred command was dropped", command=command_id, code=entry.code, reason=reason)
        return Executed(command_id, dropped, writes, tuple(sorted(documents)))

    def _held(self, command_id: str) -> tuple[Entry, Logged, tuple[str, int]]:
        entry = entry_of(self._journal, command_id)
        if entry is not None and entry.status is Status.PENDING and entry.lsn:
            found = logged(self._journal, entry.lsn)
            for space in self._outbox.spaces:
                place = self._outbox.place(space, found.command.scope)
                if self._outbox.queue.entries.holds_back(entry.lsn, place):
                    return entry, found, place
        raise NotFound(
            f"command {command_id!r} is not deferred now",
            "`driftlog edge log` says how far it is; try again if it was just sent",
        )
