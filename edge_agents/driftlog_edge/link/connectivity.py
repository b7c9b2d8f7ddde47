"""Is there a way to the cloud? A small machine with memory, so that a flickering link does not make a flickering agent.

    OFFLINE       nothing gets through (or we were told to stay off)
    TRANSITIONING something got through after OFFLINE; not trusted yet
    ONLINE        works
    DEGRADED      worked a moment ago, and something fails now

Events come from the clients: `success` when the broker answered, `failure` when it did not. Nothing here waits or asks the clock.

Source of the back-off: Brooker 2015, "Exponential Backoff And Jitter" (full jitter).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

SETTLE_SECONDS = 1.0
GIVE_UP_SECONDS = 10.0
BACKOFF_CAP_SECONDS = 300.0
STALL_SECONDS = 60.0


class Connection(Enum):
    """What `/v1/status` calls `connection`."""

    ONLINE = "ONLINE"
    DEGRADED = "DEGRADED"
    TRANSITIONING = "TRANSITIONING"
    OFFLINE = "OFFLINE"


class Connectivity:
    """The machine. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.state = Connection.OFFLINE
        self.forced = False
        self._since = 0.0

    def success(self, now: float) -> None:
        """The broker answered."""
        if self.forced:
            return
        if self.state is Connection.OFFLINE:
            self._enter(Connection.TRANSITIONING, now)
        elif self.state is Connection.DEGRADED or (
            self.state is Connection.TRANSITIONING and now - self._since >= SETTLE_SECONDS
        ):
            self._enter(Connection.ONLINE, now)

    def failure(self, now: float) -> None:
        """The broker did not answer."""
        if self.state is Connection.TRANSITIONING:
            self._enter(Connection.OFFLINE, now)
        elif self.state is Connection.ONLINE:
            self._enter(Connection.DEGRADED, now)
        elif self.state is Connection.DEGRADED and now - self._since >= GIVE_UP_SECONDS:
            self._enter(Connection.OFFLINE, now)

    def force_offline(self, forced: bool, now: float) -> None:
        """Stay off the network until told otherwise (aeroplane mode), or end that."""
        self.forced = forced
        if forced:
            self._enter(Connection.OFFLINE, now)

    def _enter(self, state: Connection, now: float) -> None:
        self.state = state
        self._since = now


def backoff(attempt: int, random: Callable[[], float], base: float = 0.2) -> float:
    """Seconds to wait before attempt `attempt` (from 1): anything up to the doubling bound, at most five minutes."""
    return random() * min(BACKOFF_CAP_SECONDS, base * (1 << min(attempt, 20)))


class Watchdog:
    """Notices a queue that does not move although there is a way."""

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall = stall_seconds
        self._moved_at: float | None = None

    def moved(self, now: float) -> None:
        """Something was delivered, or nothing waits."""
        self._moved_at = now

    def stalled(self, waiting: int, now: float) -> bool:
        """Has a queue that is not empty stood still for too long?"""
        if not waiting or self._moved_at is None:
            self._moved_at = now
        return waiting > 0 and now - self._moved_at >= self._stall
