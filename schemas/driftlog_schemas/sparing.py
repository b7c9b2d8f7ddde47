"""A log line that a stranger can provoke as often as it writes a record: a few of a kind are told each minute, then how many were not.

A log that grows with a stranger's records fills the disk of a small device and hides what matters. What each line would have said is of the
same kind; that there were so many is the news.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

MOST = 20
"""Lines of one kind in a window."""
WINDOW_SECONDS = 60.0


class Log(Protocol):
    """As structlog gives one."""

    def warning(self, event: str, /, **facts: Any) -> Any: ...


class Sparing:
    """One kind of warning."""

    def __init__(self, log: Log, event: str, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._event = event
        self._now = now
        self._begun = now()
        self._told = 0
        self._left_out = 0

    def __call__(self, **facts: Any) -> None:
        """Write it, if it is not one too many; with it how many were left out before."""
        if self._now() - self._begun >= WINDOW_SECONDS:
            self._begun, self._told = self._now(), 0
        if self._told >= MOST:
            self._left_out += 1
            return
        self._told += 1
        if self._left_out:
            facts["left_out"], self._left_out = self._left_out, 0
        self._log.warning(self._event, **facts)
