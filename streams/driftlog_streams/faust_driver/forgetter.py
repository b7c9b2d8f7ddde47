"""Lets partitions forget: asks the broker for times and who was heard of, looks into the stores, and writes what `core.forgetting` decides
into the op log.

It runs beside the merge and never holds it up. What it writes counts when it is read from the log, and not before; what is lost on the way
is decided again at the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaException

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA
from driftlog_schemas.messages import ChainRow, Forgetting
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.forgetting import is_full, next_batch, plan, readable, tombstones
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.broker_time import pass_time, tell_the_time
from driftlog_streams.faust_driver.partition_store import PartitionStore, unread
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.reading.lately_heard import LatelyHeard
from driftlog_streams.reading.past_reader import PastReader

log = structlog.get_logger()

LOOKS = 100
"""So often a partition is looked at within its retention."""
OFTENER = 4
"""So much more often where there was more to forget than one record holds; of four times as many a row has room (`memory.MAX_FORGOT`)."""
LEAST_SECONDS, MOST_SECONDS = 1.0, 6 * 3600.0


class _Then(NamedTuple):
    """The retention ago."""

    floors: Mapping[int, int]
    """partition -> how far everybody was who is not away for longer"""
    alive: Container[str]
    """Lives that were heard of since."""


class Forgetter:
    """Of the partitions that a worker owns. `stores` gives those that are open, `row` the cloud's row of one as merged now."""

    def __init__(
        self,
        rules: SpaceRules,
        devices: Devices,
        identity: Identity,
        past: PastReader,
        heard: LatelyHeard,
        admin: TopicsAdmin,
        publisher: Publisher,
        stores: Callable[[], Mapping[int, PartitionStore]],
        committed: Callable[[int], int],
        row: Callable[[int], ChainRow | None],
    ) -> None:
        self._rules = rules
        self._devices = devices
        self._identity = identity
        self._past = past
        self._heard = heard
        self._admin = admin
        self._publisher = publisher
        self._stores = stores
        self._committed = committed
        self._row = row
        self._seconds = LEAST_SECONDS
        self._retention = 0.0
        self._more = False
        """Had somebody more to forget than one record holds?"""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._look()
            except (KafkaException, RecoveryFailed, ContractError, TimeoutError) as error:
                log.warning("what may be forgotten cannot be asked now", error=str(error))

    async def _look(self) -> None:
        stores = dict(self._stores())
        if not stores:
            return
        pass_time(self._publisher)
        loop, self._more = asyncio.get_running_loop(), False
        then = await loop.run_in_executor(None, self._asked, list(stores))
        for partition, floor in then.floors.items():
            if partition not in self._stores():
                continue  # somebody else's meanwhile
            floor, known = min(floor, self._committed(partition) - 1), self._row(partition)
            if unread(known, stores[partition]):
                continue
            found = await loop.run_in_executor(None, self._planned, stores[partition], known, floor, then.alive)
            if found is not None and partition in self._stores() and self._row(partition) == known:
                self._write(partition, known, found)
                self._more = self._more or is_full(found)

    @property
    def _pause(self) -> float:
        return (
            max(LEAST_SECONDS, min(self._seconds, self._retention / LOOKS / OFTENER)) if self._more else self._seconds
        )

    def _asked(self, partitions: list[int]) -> _Then:
        """How it was as long ago as tombstones are kept, by the topic's own setting."""
        name = self._rules.topics.state
        found = self._admin.existing([name, topics.HEARTBEATS])
        retention_ms = int(found[name].settings.get(topics.RETENTION, topics.RETENTION_MS))
        self._retention = retention_ms / 1000
        self._seconds = min(MOST_SECONDS, max(LEAST_SECONDS, self._retention / LOOKS))
        heartbeats = found.get(topics.HEARTBEATS)
        then_ms = self._past.now(partitions, heartbeats=tell_the_time(heartbeats)) - retention_ms
        if then_ms <= 0:
            return _Then({}, frozenset())
        alive = frozenset[str]() if heartbeats is None else self._heard.since(then_ms)
        return _Then(self._past.floors(partitions, then_ms), alive)

    def _planned(
        self, store: PartitionStore, known: ChainRow | None, floor: int, alive: Container[str]
    ) -> Forgetting | None:
        found = plan(
            known,
            floor,
            tombstones(self._rules, store.dead(floor + 1)),
            readable(self._rules, store.rows()),
            self._active,
            alive,
        )
        store.forget_gone(floor)
        store.forget_ended(floor)
        return found

    def _active(self, device_id: str) -> bool:
        device = self._devices.find(device_id)
        return device is not None and device.latest.status is DeviceStatus.ACTIVE

    def _write(self, partition: int, known: ChainRow | None, forgetting: Forgetting) -> None:
        batch = next_batch(known, self._rules.name, partition, forgetting)
        value = self._rules.batches.seal(encode_body(batch), self._identity)
        record = OutRecord(self._rules.topics.ops, partition, CLOUD.encode(), value)
        said = {"floor": forgetting.floor, "purged": len(forgetting.purge), "retired": len(forgetting.retired)}
        self._publisher.publish(
            [record],
            lambda offsets: log.info("a partition forgets", partition=partition, replica=CLOUD_REPLICA, **said),
            lambda error: log.warning("a partition could not be told to forget", partition=partition, error=error),
        )
