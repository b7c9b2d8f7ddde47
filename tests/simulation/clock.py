"""The clocks of devices: wrong by hours, drifting, and set right or wrong in mid-run. The log's own clock is the scheduler's."""

from __future__ import annotations

from tests.simulation.scheduler import EPOCH_MS, Scheduler

HOUR_MS = 60 * 60 * 1000


class DeviceClock:
    """What a device believes the time to be."""

    def __init__(self, scheduler: Scheduler, skew_ms: int = 0, drift: float = 0.0) -> None:
        self._scheduler = scheduler
        self._skew_ms = skew_ms
        self._drift = drift

    @classmethod
    def drawn(cls, scheduler: Scheduler) -> DeviceClock:
        """Mostly good, sometimes hours ahead or behind, never quite regular."""
        skew = scheduler.between(-200, 200)
        if scheduler.chance(0.4):
            skew = scheduler.between(-6 * HOUR_MS, 6 * HOUR_MS)
        return cls(scheduler, skew, scheduler.random.uniform(-0.001, 0.001))

    def now_ms(self) -> int:
        """The device's wall clock. It may jump back; the HLC over it must not."""
        elapsed = self._scheduler.now - EPOCH_MS
        return self._scheduler.now + self._skew_ms + int(elapsed * self._drift)

    def set_skew(self, skew_ms: int) -> None:
        """Somebody, or NTP, sets the clock."""
        self._skew_ms = skew_ms
