"""The time of day of one agent, set from outside while it runs; what it measures durations by goes on as it was.

A library preloaded into the agent (`set_clock.c`) answers what asks for the time. libfaketime would be one, but it does not know how C11's conditions wait,
which are those of librdkafka, and lets nobody wait on whose clock is set back meanwhile.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.load.edges import EdgeProcess
from tests.load.preloaded import preload

_WRONG_BY = struct.Struct("=q")


class SetClock:
    """The clock of an agent that has not been started yet; right until it is set. Skips the test where nothing compiles C."""

    def __init__(self, edge: EdgeProcess) -> None:
        file = edge.replica.parent / "clock"
        file.write_bytes(_WRONG_BY.pack(0))
        with file.open("r+b") as opened:
            self._wrong = mmap.mmap(opened.fileno(), _WRONG_BY.size)
        preload(edge, Path(__file__).with_name("set_clock.c"), {"DRIFTLOG_TEST_CLOCK": str(file)})

    def set_to(self, moment: datetime) -> None:
        """It goes on from there."""
        self._set(round((moment.timestamp() - time.time()) * 1e9))

    def set_right(self) -> None:
        self._set(0)

    def _set(self, nanoseconds: int) -> None:
        self._wrong[:] = _WRONG_BY.pack(nanoseconds)


def year(number: int) -> datetime:
    """The second of January, so that it is that year everywhere."""
    return datetime(number, 1, 2, tzinfo=UTC)
