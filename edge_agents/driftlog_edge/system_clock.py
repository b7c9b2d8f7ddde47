"""The device's clock, as the operating system gives it."""

from __future__ import annotations

import time


class SystemClock:
    """`ports.Clock` of a real device."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
