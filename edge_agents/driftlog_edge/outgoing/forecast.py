"""When the outbox will be full, and how long it takes to be empty, if everything goes on as it did.

Commands are written over the day as people work, so the rate at which they come is that of the last day at most; they leave as fast as link
and cloud allow at the moment, so that rate is of the last minutes. Neither is told from less than a minute of looking on. It never takes less time than the
link needs for the bytes, at the pace at which they can leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

COME_SECONDS, COME_APART = 86_400.0, 300.0
GO_SECONDS, GO_APART = 300.0, 10.0
LEAST_SECONDS = 60.0


class Load(NamedTuple):
    """What waits for the cloud's word, and what it may be."""

    commands: int
    bytes: int
    most_commands: int
    most_bytes: int


class Outlook(NamedTuple):
    """None: not to be told."""

    commands_per_hour: float | None
    full_in_seconds: float | None
    """If nothing left from now on."""
    drained_in_seconds: float | None
    """At the pace at which it is getting less, or at which bytes can leave, whichever takes longer."""


class _Rate:
    """How fast a number grows that only grows."""

    def __init__(self, seconds: float, apart: float) -> None:
        self._seconds, self._apart = seconds, apart
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, now: float, count: int) -> None:
        if not self._seen or now - self._seen[-1][0] >= self._apart:
            self._seen.append((now, count))
        while now - self._seen[0][0] > self._seconds + self._apart:
            self._seen.popleft()

    def per_second(self, now: float, count: int) -> float | None:
        if not self._seen or now - self._seen[0][0] < LEAST_SECONDS:
            return None
        return (count - self._seen[0][1]) / (now - self._seen[0][0])


class Forecast:
    """Of one outbox. `load` says what waits there, `written` how many commands were ever written, `pace` how many bytes can leave in a second."""

    def __init__(
        self, load: Callable[[], Load], written: Callable[[], int], pace: Callable[[], float | None] = lambda: None
    ) -> None:
        self._load = load
        self._pace = pace
        self._written = written
        self._coming = _Rate(COME_SECONDS, COME_APART)
        self._going = _Rate(GO_SECONDS, GO_APART)

    def look(self, now: float) -> None:
        """See how it is; to be called now and then, at a monotonic time."""
        self._seen(now)

    def outlook(self, now: float) -> Outlook:
        """As it looks now."""
        load, written = self._seen(now)
        coming = self._coming.per_second(now, written)
        going, pace = self._going.per_second(now, written - load.commands), self._pace()
        drained = [load.commands / going] if going and going > 0 else []
        drained += [load.bytes / pace] if pace else []
        return Outlook(
            None if coming is None else coming * 3600,
            _full_in(load, coming) if coming else None,
            max(drained) if load.commands and drained else None,
        )

    def _seen(self, now: float) -> tuple[Load, int]:
        load, written = self._load(), self._written()
        self._coming.look(now, written)
        self._going.look(now, written - load.commands)
        return load, written


def _full_in(load: Load, coming: float) -> float:
    """Whichever bound is met first; commands to come are taken to be as large as those that wait."""
    rooms = [(load.most_commands - load.commands) / coming]
    if load.commands and load.bytes:
        rooms.append((load.most_bytes - load.bytes) / (coming * load.bytes / load.commands))
    return max(0.0, min(rooms))
