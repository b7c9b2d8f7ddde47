"""Tells Prometheus how the partitions of a worker stand: what waits in the log, what is in conflict, what is overdue, how large the stores are.

All of it is asked now and then, beside the merge, and decides nothing. What is counted is bounded: beyond it the number stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_streams.errors import StoreFailed
from driftlog_streams.telling.metrics import WorkerMetrics
from driftlog_streams.telling.trouble import Trouble

log = structlog.get_logger()

LOOK_SECONDS = 15.0
MOST_COUNTED = 100_000
LATE_MS = 60_000
"""A deadline ends a conflict within seconds; what has been due for longer is overdue."""


class Ends(Protocol):
    """Where partitions end."""

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]: ...


class Store(Protocol):
    """What a partition's store knows of conflicts."""

    def disputes(self) -> Iterable[bytes]: ...
    def disputes_of(self, key: bytes) -> Iterable[bytes]: ...
    def due(self, until_ms: int) -> Iterable[tuple[int, bytes, bytes | None]]: ...


class OwnedWatch:
    """Of one space in one process. `stores` gives those of the partitions that are ours, `committed` from where one is merged."""

    def __init__(
        self,
        ops_topic: str,
        reader: Ends,
        stores: Callable[[], Mapping[int, Store]],
        committed: Callable[[int], int],
        store_bytes: Callable[[], int],
        metrics: WorkerMetrics,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ops = ops_topic
        self._reader = reader
        self._stores = stores
        self._committed = committed
        self._store_bytes = store_bytes
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._trouble = Trouble(log, "how the partitions stand cannot be told")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask and tell; where the broker does not answer what was told before stands."""
        stores = dict(self._stores())
        committed = {partition: self._committed(partition) for partition in stores}
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._tell, stores, committed)
        except (KafkaException, StoreFailed, TimeoutError) as error:
            self._trouble.met(error)
        else:
            self._trouble.over()

    def _tell(self, stores: Mapping[int, Store], committed: Mapping[int, int]) -> None:
        metrics, late_ms = self._metrics, self._wall_ms() - LATE_MS
        metrics.store_bytes.set(self._store_bytes() if stores else 0)
        metrics.open_conflicts.set(_count(name for store in stores.values() for name in store.disputes()))
        overdue = (
            key
            for store in stores.values()
            for _, key, value in store.due(late_ms)
            if value is not None and any(store.disputes_of(key))
        )
        metrics.overdue_conflicts.set(_count(overdue))
        ends = self._reader.ends([(self._ops, partition) for partition in stores]) if stores else {}
        metrics.lag.set(sum(max(0, end - committed[partition]) for (_, partition), end in ends.items()))


def _count(found: Iterable[bytes]) -> int:
    return sum(1 for _ in islice(found, MOST_COUNTED))
