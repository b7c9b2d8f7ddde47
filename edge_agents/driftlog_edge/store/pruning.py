"""Forgetting what is done: the disk of a device must not grow with its history.

A command is done when it has its last verdict and the confirmed state has all of it. It stays in both logs for the kept horizon: people read
the one, and a repeated Idempotency-Key is answered from the other. Then it goes, and its key is as good as new.

What is not done (it waits, is parked, is to run again, is under review) is never forgotten, however old. The newest commands are kept
whatever the clock says: one that jumps a year ahead takes no answer away from a caller who retries.

A pass goes through the logs in their order, a few commands at a time, and ends at the first that is young. What it passed over is looked at again
by a later pass from the start.

A stamp that lies ahead of now is of a clock that was wrong, perhaps by years, and tells no age. Such a command is at least as old as every later one: it goes
when one behind it is old.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from driftlog_crdt.hlc import DEFAULT_BOUND_MS
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import decode_logged
from driftlog_schemas.messages import Command

LOOK_AT = 100
"""Commands that one step looks at."""
KEEP_LAST = 1000
"""How many of the newest commands stay."""


class Pruning:
    """Passes over the logs of one replica. `now_ms` is the corrected time of its stamps."""

    def __init__(self, journal: Journal, backlog: Backlog, now_ms: Callable[[], int], keep_ms: int) -> None:
        self._journal = journal
        self._backlog = backlog
        self._now_ms = now_ms
        self._keep_ms = keep_ms
        self._at = 0
        """Up to which lsn the passes have come."""
        self._of_no_age = 0
        """The first command that was passed over because its stamp lies ahead; 0 for none."""
        self._old_to = 0
        """Up to this lsn those are old that tell no age: this one is."""

    def from_the_start(self) -> None:
        """Let the next pass look again at what earlier ones have passed over."""
        self._at = self._of_no_age = self._old_to = 0

    def step(self) -> dict[Place, bytes | None] | None:
        """The writes that forget some of what is done; stage them before the next step. None when nothing is old enough."""
        writes: dict[Place, bytes | None] = {}
        looked = self._answers(writes) + self._commands(writes)
        return writes if looked else None

    def _commands(self, writes: dict[Place, bytes | None]) -> int:
        """Those that have changed something; how many were old enough to be looked at."""
        _, newest = keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))
        looked = 0
        start = keys.lsn_key(self._at) if self._at else b""
        for key, value in islice(self._journal.scan(Family.OPLOG, b"", start), LOOK_AT):
            lsn, command = keys.parse_lsn(key), decode_logged(value).command
            ahead = self._ahead(command.hlc >> 16)
            if lsn > newest - KEEP_LAST or not (ahead or self._old(command.hlc >> 16)):
                break
            looked += 1
            self._at = lsn
            if self._of_no_age and not ahead:  # it is old, and so are those before it
                self._old_to, self._at, self._of_no_age = lsn, self._of_no_age - 1, 0
                break
            if ahead and lsn > self._old_to:
                self._of_no_age = self._of_no_age or lsn
            else:
                self._forget(lsn, command, writes)
        return looked

    def _forget(self, lsn: int, command: Command, writes: dict[Place, bytes | None]) -> None:
        if lsn in self._backlog:
            return
        entry = entry_of(self._journal, command.id)
        if entry is not None and entry.lsn == lsn:  # else it has run again, under a number of its own
            if not entry.status.final:
                return
            if entry.status is Status.REJECTED:
                writes[Family.META, keys.rejected_key(lsn)] = None
            writes[Family.COMMANDS, command.id.encode()] = None
        writes[Family.OPLOG, keys.lsn_key(lsn)] = None

    def _answers(self, writes: dict[Place, bytes | None]) -> int:
        """Commands that have changed nothing stand in no op log; only their answer is kept."""
        looked = 0
        for key, _ in islice(self._journal.scan(Family.META, keys.ANSWERED), LOOK_AT):
            at_ms, command_id = keys.parse_answered(key)
            if not self._old(at_ms):
                break
            looked += 1
            writes[Family.META, key] = None
            entry = entry_of(self._journal, command_id)
            if entry is not None and not entry.lsn:
                writes[Family.COMMANDS, command_id.encode()] = None
        return looked

    def _old(self, at_ms: int) -> bool:
        return self._now_ms() - at_ms > self._keep_ms

    def _ahead(self, at_ms: int) -> bool:
        return at_ms > self._now_ms() + DEFAULT_BOUND_MS
