"""Settles conflicts that nobody has decided in time: looks which deadlines have passed by the broker's time, and writes what `core.settling` finds
into the op log.

It runs beside the merge and never holds it up. What it writes counts when it is read from the log; what is lost on the way, or refused because
another worker has written at the same moment, is found again at the next look. What was merged and is found nevertheless (a document at the bound
of its size, a clock of another broker) could not be settled: it is left alone for some minutes, so that the op log does not grow by it.

A deadline is the broker's: this process's clock only says when it is worth asking. The first deadline of each partition is at hand in
its store, so a look costs nothing while none is near; and where nobody writes, a record without a meaning makes the broker tell the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaException

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import batch_digest, encode_body
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import ChainRow, Due, Forgetting
from driftlog_schemas.signing import Identity
from driftlog_streams.core.chain import entry_of, may_bring
from driftlog_streams.core.forgetting import next_batch
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.settling import Overdue, overdue
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.broker_time import BrokerTime
from driftlog_streams.faust_driver.partition_store import PartitionStore, unread
from driftlog_streams.faust_driver.publisher import Publisher

log = structlog.get_logger()

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
"""So long a record is waited for before what it settles is written once more."""


class Written(NamedTuple):
    """A record that was written into an op log."""

    number: int
    digest: bytes
    settle: frozenset[Due]
    until: float
    """When it is given up, if it has not been merged."""


class Settler:
    """Of the partitions that a worker owns. `stores` gives those that are open, `row` the cloud's row of one as merged now."""

    def __init__(
        self,
        rules: SpaceRules,
        identity: Identity,
        broker_time: BrokerTime,
        publisher: Publisher,
        stores: Callable[[], Mapping[int, PartitionStore]],
        row: Callable[[int], ChainRow | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._identity = identity
        self._time = broker_time
        self._publisher = publisher
        self._stores = stores
        self._row = row
        self._monotonic = monotonic
        self._written: dict[int, Written] = {}
        """By partition, what was written last."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (KafkaException, RecoveryFailed, ContractError, TimeoutError) as error:
                log.warning("whether deadlines have passed cannot be asked now", error=str(error))

    async def _look(self) -> None:
        stores = dict(self._stores())
        loop = asyncio.get_running_loop()
        firsts = await loop.run_in_executor(None, lambda: {p: s.first_due() for p, s in stores.items()})
        near = {p: first for p, first in firsts.items() if first is not None and not self._waits(p)}
        if not near or not self._time.may_be(min(near.values())):
            return
        now_ms = await self._time.now(stores)
        for partition in [p for p, first in near.items() if first <= now_ms]:
            known = self._row(partition)
            if unread(known, stores[partition]):
                continue
            found = await loop.run_in_executor(None, self._found, stores[partition], now_ms, self._in_vain(partition))
            if found.settle and partition in self._stores() and self._row(partition) == known:
                self._write(partition, known, found)

    def _waits(self, partition: int) -> bool:
        """Is what was written last still on its way?"""
        written, row = self._written.get(partition), self._row(partition)
        if written is None or self._monotonic() >= written.until:
            return False
        return (0 if row is None else row.last) < written.number

    def _in_vain(self, partition: int) -> frozenset[Due]:
        """What the last record has named that was merged: what of it is found once more could not be settled."""
        written, row = self._written.get(partition), self._row(partition)
        entry = None if written is None or row is None else entry_of(row, written.number)
        if written is None or entry is None or not may_bring(entry, written.digest, entry.offset):
            return frozenset()
        return written.settle

    def _found(self, store: PartitionStore, now_ms: int, in_vain: frozenset[Due]) -> Overdue:
        found = overdue(self._rules, store.due(now_ms), now_ms, in_vain)
        if found.over or found.later:
            store.moved_due(found.over, found.later)
        return found

    def _write(self, partition: int, known: ChainRow | None, found: Overdue) -> None:
        batch = next_batch(known, self._rules.name, partition, Forgetting(-1, settle=found.settle))
        body = encode_body(batch)
        value = self._rules.batches.seal(body, self._identity)
        record = OutRecord(topics.ops_topic(self._rules.name), partition, CLOUD.encode(), value)
        until = self._monotonic() + PATIENCE_SECONDS
        self._written[partition] = Written(batch.number, batch_digest(body), frozenset(found.settle), until)
        self._publisher.publish(
            [record],
            lambda offsets: log.info("deadlines have passed", partition=partition, conflicts=len(found.settle)),
            lambda error: log.warning("conflicts could not be settled", partition=partition, error=error),
        )
