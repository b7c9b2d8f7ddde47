"""Time and chance of one simulated world.

All that happens is an event in one queue, ordered by (time, number of its scheduling); all chance comes from one
`random.Random(seed)`. Nothing reads a wall clock, and nothing iterates over a set, so the same seed gives the same run on any
machine and under any hash seed. The trace hash takes in every event's time and label: two runs with equal hashes did the
same things in the same order, which is what makes a failing seed worth keeping.

Source: FoundationDB's simulation (Zhou et al. 2021, section 4); TigerBeetle's VOPR.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

EPOCH_MS = 1_750_000_000_000
"""When every world begins: a time like today's, for stamps that look like stamps."""

MAX_EVENTS = 1_000_000
"""More than this is a run that feeds itself; it is a failure, not patience."""


class Runaway(AssertionError):
    """The world does not come to rest."""


@dataclass(slots=True, eq=False)
class Event:
    """Something that will happen. Cancelled ones are passed over."""

    at: int
    label: str
    action: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Scheduler:
    """The event queue of one world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = EPOCH_MS
        self.events = 0
        self.threads = {threading.get_ident()}
        """Which may put something into the future: the world's own, and those that it lets run one at a time."""
        self._queue: list[tuple[int, int, Event]] = []
        """Each with its time and number before it: tuples are compared without a call."""
        self._number = 0
        self._trace = hashlib.blake2b(digest_size=16)
        self.listen: Callable[[int, str], None] | None = None
        """Given every note as it is made: what a replay prints."""

    def after(self, delay_ms: int, label: str, action: Callable[[], None]) -> Event:
        """Have `action` happen `delay_ms` from now (0 = as soon as what is due before has happened)."""
        assert delay_ms >= 0, "nothing happens in the past"
        assert threading.get_ident() in self.threads, "a real thread would bring its own time and chance into the world"
        self._number += 1
        event = Event(self.now + delay_ms, label, action)
        heapq.heappush(self._queue, (event.at, self._number, event))
        return event

    def at(self, time_ms: int, label: str, action: Callable[[], None]) -> Event:
        """Have `action` happen at `time_ms`, or now if that has passed."""
        return self.after(max(0, time_ms - self.now), label, action)

    def run_until(self, time_ms: int) -> None:
        """Let everything happen that is due up to and including `time_ms`. Raises `Runaway`."""
        while self._queue and self._queue[0][0] <= time_ms:
            _, _, event = heapq.heappop(self._queue)
            if event.cancelled:
                continue
            self.now = event.at
            self.events += 1
            if self.events > MAX_EVENTS:
                raise Runaway(f"seed {self.seed}: more than {MAX_EVENTS} events; the last was {event.label}")
            self._trace.update(f"{event.at} {event.label}\n".encode())
            event.action()
        self.now = max(self.now, time_ms)

    def note(self, text: str) -> None:
        """Put a fact into the trace."""
        self._trace.update(f"{self.now} {text}\n".encode())
        if self.listen is not None:
            self.listen(self.now, text)

    @property
    def trace_hash(self) -> str:
        """Of all that has happened so far."""
        return self._trace.hexdigest()

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.random.randint(low, high)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability
