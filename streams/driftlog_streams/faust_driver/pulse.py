"""Noticing that this process stood still.

A process that was frozen (SIGSTOP, a paused machine) for about the session timeout may have lost its partitions without knowing, and
anything it still publishes would be an older state over a newer one. `Pulse` notices the missing time and ends the process
before it publishes again.
"""

from __future__ import annotations

import threading
import time

from driftlog_streams.errors import Frozen
from driftlog_streams.faust_driver.sudden_end import die

TICK_SECONDS = 0.2


class Pulse:
    """Notices that the process stood still, once it is started. `limit` seconds are what it may."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._last = time.monotonic()

    def start(self) -> None:
        """Beat from now on, as long as the process lives."""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def check(self) -> None:
        """Call before every publishing."""
        missing = time.monotonic() - self._last
        if missing > self._limit:
            die(Frozen(f"stood still for {missing:.1f} s, its partitions may belong to another worker"))

    def _beat(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self.check()
            self._last = time.monotonic()
