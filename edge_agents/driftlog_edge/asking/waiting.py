"""Why a command is still here although there is a way to the cloud, for whoever asks what became of it."""

from __future__ import annotations

from typing import NamedTuple

from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock
from driftlog_schemas.identity import DocumentId


class WaitsFor(NamedTuple):
    """What a command waits for."""

    what: str = ""
    """`power`, `wifi`, or the rhythm of its collection; empty where it waits for none of these."""
    until_ms: int | None = None
    """When it leaves at the latest if there is a way then, by the device's clock; None where nobody can tell."""


NOTHING = WaitsFor()


class Waiting:
    """Looks at the outbox of one replica."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    def of(self, lsn: int, document: DocumentId) -> WaitsFor:
        """What the command of this number waits for, which changes this document."""
        place = self._outbox.place_of(document)
        found = place and self._outbox.queue.waits(lsn, place, self._clock.monotonic())
        return WaitsFor(found.what, self._until(found.seconds)) if found else NOTHING

    def all(self) -> list[tuple[WaitsFor, int]]:
        """Each reason, and for how many commands it is one."""
        found = self._outbox.queue.moments.waits(self._clock.monotonic())
        return [(WaitsFor(why.what, self._until(why.seconds)), commands) for why, commands in found]

    def _until(self, seconds: float | None) -> int | None:
        return None if seconds is None else self._clock.wall_ms() + round(seconds * 1000)
