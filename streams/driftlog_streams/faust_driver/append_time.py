"""When a record was appended: the broker's time, or nobody's.

Everything that depends on time depends on this one: which key and which terms of a device count, how far a clock may be ahead. A topic
that keeps its writers' times would let anybody choose the moment at which he is judged. Kafka says in each record whose time it has.
A record with its writer's time is refused (`untimed`, nothing seen, the device sends it again). If the topic still is so the worker
ends and says what mends it; else the record is from before that was mended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LOG_APPEND_TIME = 1
"""Kafka's number for it."""
CHECK_SECONDS = 60.0


def append_ms(message: Any) -> int:
    """The time in a record, in epoch milliseconds. To be believed only if it is `timed`."""
    timestamp: float = message.timestamp
    return round(timestamp * 1000)


def timed(message: Any) -> bool:
    """Is it the broker's?"""
    return bool(message.timestamp_type == LOG_APPEND_TIME)


class TimesCheck:
    """Asks now and then whether the topic is as it must be. `require` raises if not, and blocks."""

    def __init__(self, require: Callable[[], None]) -> None:
        self._require = require
        self._asked_at = -CHECK_SECONDS

    async def untimed(self) -> None:
        """A record had its writer's time. Raises what `require` raises."""
        now = time.monotonic()
        if now - self._asked_at >= CHECK_SECONDS:
            self._asked_at = now
            await asyncio.get_running_loop().run_in_executor(None, self._require)
