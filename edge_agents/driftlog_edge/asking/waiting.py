"""Why a command is still here, for whoever asks what became of it: what must come before it can go on.

One reason is told, the one that holds whatever becomes of the others: a person's word, then the cloud's, then what this device waits for by itself, and last
the way. A command that the cloud has, and that waits for no more than its answer, has none: its status says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock, Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.journal import Journal
from driftlog_schemas.identity import DocumentId

REVIEW = "review"
"""A person: it is on the review list."""
CHANGE = "change"
"""An earlier change, which the cloud does not have."""
CLOUD = "cloud"
"""The cloud has put it off, or one before it on its documents."""
OUTBOX = "outbox"
"""It runs again, as soon as there is room."""
RELEASE = "release"
"""A release of the app that declares what it changes."""
LIFE = "life"
"""A new life of this folder, which is about to begin."""
NETWORK = "network"
"""A way to the cloud."""


class WaitsFor(NamedTuple):
    """What a command waits for."""

    what: str = ""
    """One of the words above, `power`, `wifi`, or the rhythm of its collection; empty where it waits for none of these."""
    until_ms: int | None = None
    """When it leaves at the latest if there is a way then, by the device's clock; None where nobody can tell."""


NOTHING = WaitsFor()


class Waiting:
    """Looks at the commands of one replica. `online`: is there a way to the cloud? `carries`: has this sealed command not left yet?"""

    def __init__(
        self,
        outbox: Outbox,
        journal: Journal,
        clock: Clock,
        online: Callable[[], bool] = lambda: True,
        carries: Callable[[int], bool] = lambda lsn: False,
    ) -> None:
        self._outbox = outbox
        self._journal = journal
        self._clock = clock
        self._online = online
        self._carries = carries

    def of(self, lsn: int, status: Status, document: DocumentId) -> WaitsFor:
        """What the command of this number waits for, which is so far and changes this document."""
        if status is Status.REVIEW:
            return WaitsFor(REVIEW)
        if status is Status.PARKED:
            return WaitsFor(CHANGE)
        return self._unsent(lsn, document) if status is Status.PENDING else NOTHING

    def _unsent(self, lsn: int, document: DocumentId) -> WaitsFor:
        place, queue = self._outbox.place_of(document), self._outbox.queue
        urgency = None if place is None else queue.entries.urgency(lsn, place)
        if place is None or urgency is None:
            return self._unqueued(lsn, declared=place is not None)
        if urgency == keys.HELD:
            return WaitsFor(CLOUD)
        if found := queue.moments.why(urgency, lsn, self._clock.monotonic()):
            return WaitsFor(found.what, self._until(found.seconds))
        if place in self._outbox.lives.stuck:
            return WaitsFor(LIFE)
        return NOTHING if self._online() else WaitsFor(NETWORK)

    def _unqueued(self, lsn: int, *, declared: bool) -> WaitsFor:
        if self._journal.get(Family.META, keys.again_key(lsn)) is not None:
            return WaitsFor(OUTBOX)
        if not declared:
            return WaitsFor(RELEASE)
        return WaitsFor(NETWORK) if not self._online() and self._carries(lsn) else NOTHING

    def all(self) -> list[tuple[WaitsFor, int]]:
        """Each reason for which commands do not leave although there is a way and the cloud would take them, and for how many it is one."""
        found = self._outbox.queue.moments.waits(self._clock.monotonic())
        return [(WaitsFor(why.what, self._until(why.seconds)), commands) for why, commands in found]

    def _until(self, seconds: float | None) -> int | None:
        return None if seconds is None else self._clock.wall_ms() + round(seconds * 1000)
