"""What is known of power and network now: what a caller has told, and beneath it what the device's source says.

A caller's word stands for a while: a program that told and died must not keep a device quiet for ever. For the same reason a source that fails, hangs
or says nonsense is counted and named, and what it said before counts no more: unknown power keeps nothing back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from driftlog_edge.config import PowerSettings
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.ports import Clock
from driftlog_edge.power.reading import UNKNOWN, HookFailed, Power
from driftlog_edge.power.sources import Source

log = structlog.get_logger()


class Hook:
    """Of one agent, on its loop."""

    def __init__(self, settings: PowerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._source = Source(settings, clock.monotonic)
        self._said = UNKNOWN
        self._told = UNKNOWN
        self._told_at = 0.0
        self.failures = 0
        """How often the source gave no answer since the start."""
        self.problem = ""
        """Why it gave none the last time; empty while it answers."""
        self._tasks = Tasks()

    @property
    def now(self) -> Power:
        """What is known."""
        return self._standing.over(self._said)

    @property
    def _standing(self) -> Power:
        """What a caller told, while that stands."""
        old = self._clock.monotonic() - self._told_at > self._settings.valid_seconds
        return UNKNOWN if old else self._told

    @property
    def saving(self) -> bool:
        """Is power so low that only what is urgent leaves?"""
        return self.now.is_low(self._settings.low_battery_percent)

    def tell(self, power: Power, at: float | None = None) -> None:
        """A caller's word, in place of the one before; of now, or of that moment."""
        self._told, self._told_at = power, self._clock.monotonic() if at is None else at

    def facts(self) -> dict[str, Any]:
        """For status and API."""
        return {
            **self.now.model_dump(),
            "saving": self.saving,
            "low_battery_percent": self._settings.low_battery_percent,
            "source": self._settings.source,
            "told": self._standing.model_dump(),
            "failures": self.failures,
            "problem": self.problem,
        }

    # -- life

    def start(self) -> None:
        """Begin to ask, if there is a source."""
        if self._settings.source != "api":
            self._tasks.begin(self._run())

    async def stop(self) -> None:
        await self._tasks.stop()

    def set(self, settings: PowerSettings) -> None:
        """Go by this threshold, and ask as often as this says. Who is asked does not change under a running agent."""
        self._settings = settings

    async def _run(self) -> None:
        while True:
            try:
                self._said, self.problem = await self._source.ask(), ""
            except HookFailed as error:
                self._said = UNKNOWN
                self.failures += 1
                if str(error) != self.problem:
                    log.warning("the device does not say how it is fed", reason=str(error), remedy=error.remedy)
                self.problem = str(error)
            await asyncio.sleep(self._settings.every_seconds)
