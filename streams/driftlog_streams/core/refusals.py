"""Which refusals of strangers are answered.

A stranger may send as much as it likes in any name. Each answer costs a record, so only a few a minute are given, by append time;
what a known device sends is always answered.
"""

from __future__ import annotations

MINUTE_MS = 60_000
A_MINUTE = 6


class RefusalBudget:
    """Of one partition."""

    def __init__(self, a_minute: int = A_MINUTE) -> None:
        self._a_minute = a_minute
        self._minute = -1
        self._left = a_minute

    def take(self, append_ms: int) -> bool:
        """May one more be answered at this time?"""
        minute = append_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self._left = minute, self._a_minute
        if not self._left:
            return False
        self._left -= 1
        return True
