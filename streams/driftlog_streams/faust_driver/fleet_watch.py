"""Tells Prometheus and the log which versions of the app the fleet runs, until when each of them is supported, and how long ago devices were heard.

One worker of a space does it, the owner of its first partition, for all read the same heartbeats. Nothing is decided by it: what is taken of a device hangs on
its batches (`core.examination`). So this machine's clock will do to tell how much time is left.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import structlog
from confluent_kafka import KafkaException

from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import ContractError
from driftlog_schemas.spans import span
from driftlog_schemas.support import WARNED_FROM_MS, unmet
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.device_words import DeviceWords, Word
from driftlog_streams.telling.metrics import OTHERS, WorkerMetrics
from driftlog_streams.telling.trouble import Trouble

log = structlog.get_logger()

LOOK_SECONDS = 30.0
ASK_SECONDS = 1.0
"""How often one who does not tell looks whether it is to."""
TELLER = 0
"""The partition whose owner tells."""
MOST_VERSIONS = 20
"""So many are told apart, those that most devices run; the others are counted together."""
NONE = "none"
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
WITHIN = {"10m": _HOUR_MS // 6, "1h": _HOUR_MS, "1d": _DAY_MS, "7d": 7 * _DAY_MS, "30d": 30 * _DAY_MS}
"""A device that is online is heard every five minutes at the latest."""
LONGER, UNKNOWN = "longer", "unknown"


class FleetWatch:
    """Of one space in one process. `listen` begins to read heartbeats, `owned` gives the partitions of this worker."""

    def __init__(
        self,
        space: SpaceContract,
        listen: Callable[[], DeviceWords],
        metrics: WorkerMetrics,
        owned: Callable[[], Collection[int]],
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._space = space
        self._listen = listen
        self._metrics = metrics
        self._owned = owned
        self._wall_ms = wall_ms
        self._words: DeviceWords | None = None
        self._said: dict[str, int] = {}
        """version -> how many days were left when the log said so"""
        self._trouble = Trouble(log, "the fleet's versions cannot be told")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS if TELLER in self._owned() else ASK_SECONDS)

    async def look(self) -> None:
        """Read on and tell; nothing if the first partition is somebody else's."""
        if TELLER not in self._owned():
            self._tell([])
            return
        try:
            words = await asyncio.get_running_loop().run_in_executor(None, self._heard)
        except (KafkaException, RecoveryFailed, ContractError, TimeoutError) as error:
            self._trouble.met(error)
            return
        self._trouble.over()
        if TELLER in self._owned():
            self._tell(words)

    def _heard(self) -> list[Word]:
        if self._words is None:
            self._words = self._listen()
        self._words.look()
        return self._words.last()

    def _tell(self, words: Sequence[Word]) -> None:
        counted = Counter(word.version for word in words)
        self._tell_versions(counted)
        self._metrics.heard.set(Counter(self._since(word) for word in words))
        self._said = {version: days for version, days in self._said.items() if version in counted}

    def _since(self, word: Word) -> str:
        """Within which time a device was heard last."""
        if word.at_ms == UNTIMED:
            return UNKNOWN
        ago_ms = self._wall_ms() - word.at_ms
        return next((name for name, within_ms in WITHIN.items() if ago_ms <= within_ms), LONGER)

    def _tell_versions(self, counted: Counter[str]) -> None:
        devices: Counter[str] = Counter()
        ends: dict[str, float] = {}
        for place, (version, count) in enumerate(counted.most_common()):
            name = (version or NONE) if place < MOST_VERSIONS else OTHERS
            devices[name] += count
            floor = unmet(version, self._space.floors)
            if floor is not None:
                ends[name] = min(floor.from_ms / 1000, ends.get(name, float("inf")))
                self._warn(version, count, floor.version, floor.from_ms)
        self._metrics.devices.set(devices)
        self._metrics.support_ends.set(ends)

    def _warn(self, version: str, devices: int, needs: str, ends_ms: int) -> None:
        """Once for each day that is left, and once when it is over."""
        left = ends_ms - self._wall_ms()
        days = max(-1, left // _DAY_MS)
        if left > WARNED_FROM_MS or self._said.get(version) == days:
            return
        self._said[version] = days
        when = f"in {span(left)}" if left > 0 else f"{span(-left)} ago"
        log.warning(
            "devices run a version that loses support", version=version or NONE, devices=devices, ends=when, needs=needs
        )
