"""Noticing that a worker is busy and gets nothing done: a client that reconnects without pause, a loop that never rests.

Seen once: a worker that had lost its broker took three quarters of a core in its client's reconnecting. Nothing is wrong then but the
electricity, so nothing ends; it is said in the log and counted. Asked once a beat with the process's own clock of used processor time, and with
how many records it has merged: who merges may be busy.
"""

from __future__ import annotations

BEATS = 30
"""So many in a row make a judgement."""
SHARE = 0.5
"""Of one core: over this an idle worker spins."""


class IdleSpin:
    """Of one process. `beat_seconds` lie between two beats."""

    def __init__(self, beat_seconds: float) -> None:
        self._allowed = BEATS * beat_seconds * SHARE
        self._since = (0.0, -1)
        self._beats = 0

    def beat(self, used_seconds: float, done: int) -> float | None:
        """The processor seconds that were used since it did anything, if they are too many; told once per `BEATS`."""
        began, before = self._since
        if done != before:
            self._since, self._beats = (used_seconds, done), 0
            return None
        self._beats += 1
        if self._beats < BEATS:
            return None
        self._since, self._beats = (used_seconds, done), 0
        spent = used_seconds - began
        return spent if spent > self._allowed else None
