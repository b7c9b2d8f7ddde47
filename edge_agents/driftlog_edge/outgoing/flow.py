"""How much may be on its way: what the link was measured to carry, and what the device may use of it.

The measure is the delivery rate: what arrived while a batch was on its way, over that time; of the samples of the last while the best counts, for what
waits for the app or for an answer tells of a link only that it carries no less. So a link that gets slower is believed when its better samples
have become old, and one that nobody knows is tried with little, as it may be the slowest.

A batch is as large as the link carries in a moment, and no more is on its way than in another: so on a link of 1 kB/s too a batch takes seconds, and what is
critical, being sealed next, waits no longer for those before it. A budget is a token bucket that may be overdrawn by one batch; what it owes it waits for.

Source: Cardwell et al. 2016, "BBR: Congestion-Based Congestion Control" (delivery rate, windowed maximum).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

LEAST_BYTES = 4096
"""A batch of this much is always tried, and is all that is tried where nothing is known."""
BATCH_SECONDS = 2.0
"""How long the link may be busy with one batch, and with those that are on their way when it is sealed."""
REMEMBERED_SECONDS = 30.0
TELLING_SECONDS = 0.5
"""A sample that is worse than what is known counts only if it took so long: else it was the app that had no more."""
BURST_SECONDS = 1.0
"""What a budget saves up while nothing is sent."""


class Bucket:
    """A budget in bytes a second; 0 is none. Times are monotonic seconds."""

    def __init__(self, now: Callable[[], float], per_second: int) -> None:
        self._now = now
        self.set(per_second)

    def set(self, per_second: int) -> None:
        """Another budget from now on; what was overdrawn is forgotten."""
        self.per_second = per_second
        self._left, self._at = per_second * BURST_SECONDS, self._now()

    def spend(self, size: int) -> None:
        """So much was used."""
        self._fill()
        self._left -= size

    def pause(self) -> float:
        """How long to wait before any more is used."""
        self._fill()
        return 0.0 if not self.per_second or self._left > 0 else (1 - self._left) / self.per_second

    def _fill(self) -> None:
        now = self._now()
        self._left = min(self.per_second * BURST_SECONDS, self._left + (now - self._at) * self.per_second)
        self._at = now


class Departure(NamedTuple):
    """How it was when a batch was sent."""

    arrived: int
    at: float
    """Since when what arrives afterwards is on its way."""


class Flow:
    """What leaves one device."""

    def __init__(self, now: Callable[[], float], per_second: int = 0) -> None:
        self._now = now
        self.bucket = Bucket(now, per_second)
        self._arrived = 0
        """All bytes that the log took."""
        self._last_at = 0.0
        """When it took the last of them."""
        self._samples: deque[tuple[float, float]] = deque()
        """(when, bytes a second) of those that may yet be the best: falling."""

    @property
    def measured(self) -> float | None:
        """Bytes a second; None where nobody knows."""
        return self._samples[0][1] if self._samples else None

    @property
    def pace(self) -> float | None:
        """At which bytes can leave: what the link carries, and no more than is allowed."""
        known = [rate for rate in (self.measured, self.bucket.per_second) if rate]
        return min(known, default=None)

    @property
    def batch_bytes(self) -> int:
        """How large a batch may be."""
        return max(LEAST_BYTES, int((self.pace or 0) * BATCH_SECONDS))

    def room(self, flying: int) -> bool:
        """May another batch go, so many bytes being on their way?"""
        return not self.bucket.pause() and flying < self.batch_bytes

    def sent(self, size: int, flying: int) -> Departure:
        """A batch goes, so many bytes being on their way already."""
        self.bucket.spend(size)
        now = self._now()
        return Departure(self._arrived, self._last_at if flying else now)

    def arrived(self, size: int, departure: Departure) -> None:
        """The log has taken it."""
        now = self._now()
        self._arrived, self._last_at = self._arrived + size, now
        elapsed = now - departure.at
        if elapsed <= 0:
            return  # the clock does not tell
        rate, telling = (self._arrived - departure.arrived) / elapsed, elapsed >= TELLING_SECONDS
        while telling and self._samples and now - self._samples[0][0] > REMEMBERED_SECONDS:
            self._samples.popleft()
        if telling or rate >= (self.measured or 0):
            while self._samples and self._samples[-1][1] <= rate:
                self._samples.pop()
            self._samples.append((now, rate))

    def forget(self) -> None:
        """The next link may be another one."""
        self._samples.clear()
