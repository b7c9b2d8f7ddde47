"""How a worker ends when going on would break a law: at once.

Nothing that a worker holds needs saving: what is not acknowledged is read again, what is stored was published. So there is no
orderly crash, which would have to wait for acknowledgements that never come; the supervisor starts the next life.

A process that was frozen (SIGSTOP, a paused machine) for about the session timeout may have lost its partitions without knowing, and
anything it still publishes would be an older state over a newer one. `Pulse` notices the missing time and ends the process
before it publishes again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import NoReturn

import structlog

log = structlog.get_logger()

FATAL_EXIT = 70
FROZEN_EXIT = 75
TICK_SECONDS = 0.2


def die(error: BaseException, code: int = FATAL_EXIT) -> NoReturn:
    """Say why and end the process, now."""
    log.critical("worker ends", reason=f"{type(error).__name__}: {error}", exit_code=code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Frozen(RuntimeError):
    """The process did not run for longer than its membership is safe."""


class Pulse:
    """Notices that the process stood still. `limit` seconds are what it may."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._last = time.monotonic()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def check(self) -> None:
        """Call before every publishing."""
        missing = time.monotonic() - self._last
        if missing > self._limit:
            die(Frozen(f"stood still for {missing:.1f} s, its partitions may belong to another worker"), FROZEN_EXIT)

    def _beat(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self.check()
            self._last = time.monotonic()
