"""Stores of partitions that are not ours, kept near the ends of their topics, so that taking one over reads little.

Faust's own standby tables are no help: they tail one topic, while a store here is made of states, rows, conflicts and what waits, joined by
`core.restoration`. So a round is a recovery of which only the store is kept, as if the worker had died right after it: that may happen at any time,
and the next recovery goes on from there. Who takes partitions over waits for the few that a round is at, and opens each store anew.

The price: every worker reads the whole state topic and keeps it on its disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.faust_driver.recovery import ChangelogRecovery

log = structlog.get_logger()

PAUSE_SECONDS = 5.0
AT_ONCE = 8
"""So many partitions at most make a take-over wait."""


class Standby:
    """Of one space in one process. `busy` is held while stores are opened and filled, by whomever. `taken` is told how many states came into them."""

    def __init__(
        self,
        recovery: ChangelogRecovery,
        partitions: int,
        owned: Callable[[], Collection[int]],
        opened: Callable[[int], PartitionStore],
        busy: asyncio.Lock,
        taken: Callable[[int], object] = lambda records: None,
    ) -> None:
        self._recovery = recovery
        self._partitions = partitions
        self._owned = owned
        self._opened = opened
        self._busy = busy
        self._taken = taken

    async def run(self) -> None:
        """Follow for ever. A broker that is away is tried again with the next round."""
        while True:
            try:
                await self.follow()
            except RecoveryFailed as error:
                log.warning("stores of other workers' partitions are not kept up", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self) -> None:
        """One round. Raises `RecoveryFailed`, `StoreFailed`."""
        loop = asyncio.get_running_loop()
        for first in range(0, self._partitions, AT_ONCE):
            async with self._busy:
                others = set(range(first, min(first + AT_ONCE, self._partitions))) - set(self._owned())
                if others:
                    stores = {partition: self._opened(partition) for partition in sorted(others)}
                    found = await loop.run_in_executor(None, self._recovery.recover, stores)
                    self._taken(sum(recovered.records for recovered in found.values()))
