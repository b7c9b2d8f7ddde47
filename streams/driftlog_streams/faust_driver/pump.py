"""From records to acknowledgements: drives the core's mergers and flights on an event loop.

`process` merges one record, synchronously: for the loop it is one atomic step. A flusher seals what has gathered into a flight, and
`flights` carries it out. Nothing is decided here; order and decisions are the core's (`merge`, `flight`).

A flight costs the same for a document that changed once and for one that changed fifty times. So at rest it leaves at once, behind another
flight after a short window, but while more records are known to wait in the log, merging goes first and the flight gathers, for a bounded time and up to a
bounded size; `wait_room` holds the reader back when more is changed than a flight should carry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import structlog
from faust.types import TP

from driftlog_schemas.identity import OVER_REPLICA
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.topics import ops_topic
from driftlog_streams.core.admission import Admission
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import DEFAULT_BYTES, CacheRoom
from driftlog_streams.core.trial import Watch
from driftlog_streams.errors import OrderBroken
from driftlog_streams.faust_driver.admitting import Admitting
from driftlog_streams.faust_driver.append_time import append_ms
from driftlog_streams.faust_driver.flights import Flights
from driftlog_streams.faust_driver.gathered import Gathered
from driftlog_streams.faust_driver.held_back import HeldBack
from driftlog_streams.faust_driver.mender import Mender, Reader
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.faust_driver.pulse import Pulse
from driftlog_streams.faust_driver.sudden_end import die
from driftlog_streams.faust_driver.taking_over import taken_over
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.telling.metrics import WorkerMetrics

log = structlog.get_logger()

MAX_DIRTY = 10_000
MAX_SOURCES = 10_000
MAX_BYTES = 16 << 20
"""Over these the reader waits until a flight has left; what left must be delivered before the producer gives up."""
GATHER_SECONDS = 1.0
"""How long a flight may gather while more records wait to be merged: what saturation may add to their latency."""
GATHER_STEP_SECONDS = 0.005


class MergePump:
    """The mergers of the partitions that this worker owns, and their flights."""

    def __init__(
        self,
        rules: SpaceRules,
        devices: DeviceView,
        publisher: Publisher,
        pulse: Pulse,
        metrics: WorkerMetrics,
        reader: Reader,
        window_ms: float,
        require_times: Callable[[], None],
        watch_guards: Watch,
        cache_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self._rules = rules
        self._devices = devices
        self._watch_guards = watch_guards
        self.admitting = Admitting(rules, devices, require_times, self._log_ends)
        self._metrics = metrics
        self._window = window_ms / 1000
        self._mergers: dict[int, PartitionMerger] = {}
        self._stores: dict[int, PartitionStore] = {}
        self._next: dict[TP, int] = {}
        self._gathered = Gathered()
        self._cache_bytes = cache_bytes
        self.flights = Flights(publisher, pulse, metrics, self)
        self._parked: dict[int, int] = {}
        self._removed: dict[int, int] = {}
        self._held = HeldBack(rules.batches, self._go_on, die)
        self._hurried: set[int] = set()
        """Partitions that cannot go on before what they have merged is committed."""
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self.mender = Mender(rules.topics, reader, quiet=lambda: not len(self.flights), mended=self._mended)
        self.taken = 0
        """Records that were merged in this life."""
        self.consumer: Any = None
        """The SafeConsumer to tell what is done."""

    # -- partitions

    def assign(self, stores: Mapping[int, PartitionStore], recovered: Mapping[int, Recovered]) -> None:
        """Take over recovered partitions, and no others."""
        self.revoke()
        self._stores = dict(stores)
        room = CacheRoom(self._cache_bytes)
        for partition, store in stores.items():
            self._mergers[partition] = taken_over(
                self._rules, partition, store, room, recovered[partition], self._devices, self._watch_guards
            )
            self._gathered.look(self._mergers[partition].work)
            self._tell_parked(partition)
            self._tell_removed(partition)
        self.mender.own(self._mergers, recovered)
        self._metrics.partitions.set(len(self._mergers))
        self._wake.set()

    def open_stores(self) -> Mapping[int, PartitionStore]:
        """Those that are open now."""
        return self._stores

    @property
    def mergers(self) -> Mapping[int, PartitionMerger]:
        """Of the partitions that are ours now."""
        return self._mergers

    def changed(self, partition: int) -> None:
        """Something is to leave that no record has caused."""
        self._gathered.look(self._mergers[partition].work)
        self._wake.set()

    def committed(self, partition: int) -> int:
        """The op offset from which a crash would replay; 0 for a partition that is not ours."""
        merger = self._mergers.get(partition)
        if merger is None:
            return 0
        # A commit comes after what it is of, and where nothing follows, no flight tells the merger of it.
        told: int = self.consumer.replays_from(TP(ops_topic(self._rules.name), partition))
        return max(merger.committed, told)

    def forgotten(self, partition: int) -> ChainRow | None:
        """The cloud's row of a partition, as merged now."""
        merger = self._mergers.get(partition)
        return None if merger is None else merger.forgotten

    def revoke(self) -> None:
        """Forget what is merged but not acknowledged; it is read again by whoever gets the partitions."""
        self.flights.revoke()
        self.mender.forget()
        self._mergers.clear()
        self._next.clear()
        self.admitting.forget()
        self._held.forget()
        self._gathered.left()
        self._metrics.parked.set(0)
        self._parked.clear()
        self._metrics.removed_lives.set(0)
        self._removed.clear()
        self._metrics.partitions.set(0)
        self._room.set()

    # -- merging

    async def take(self, event: Any) -> None:
        """Merge a record, now or when its schema is known. Raises `DevicesUnknown`, `TopicProblem`."""
        if not self._held.take(event):
            await self._go_on(event)

    async def _go_on(self, event: Any) -> None:
        admission = await self.admitting.decide(event.message)
        while self._crowded(event.message, admission):
            await self._commit_first(event.message.partition)
        self.process(event, admission)
        self._room.set()

    def _crowded(self, message: Any, admission: Admission) -> bool:
        """Has its chain's row no room for this record before what is merged is committed?"""
        merger = self._merger_of(message)
        if merger is None or not merger.crowded(admission, message.offset):
            return False
        merger.committed = self.committed(message.partition)
        return merger.crowded(admission, message.offset)

    async def _commit_first(self, partition: int) -> None:
        """Let what is merged leave now, and commit what has left."""
        self._hurried.add(partition)
        try:
            self._wake.set()
            await asyncio.sleep(GATHER_STEP_SECONDS)
            await self.consumer.commit()
        finally:
            self._hurried.discard(partition)

    def _log_ends(self, message: Any) -> dict[Hashable, int]:
        """How far the log is known to be, at least to this record."""
        ends: dict[Hashable, int] = {tp: self.consumer.log_end(tp) or 0 for tp in {*self._next, message.tp}}
        ends[message.tp] = max(ends[message.tp], message.offset + 1)
        return ends

    def process(self, event: Any, admission: Admission) -> None:
        """Merge one record. Records that are not the next one of their partition end the process, or are old news."""
        message = event.message
        partition, offset = message.partition, message.offset
        merger = self._merger_of(message)
        if merger is None:
            return  # of an assignment that is over; not acknowledged, so whoever owns it reads it
        following = self._next.get(message.tp)
        if following is not None and offset != following:
            if offset < following:
                event.ack()
                return
            die(OrderBroken(f"{message.topic}[{partition}]: {offset} came where {following} was due"))
        self._next[message.tp] = offset + 1
        merger.merge(admission, offset, append_ms(message), event)
        self.taken += 1
        self._gathered.look(merger.work, message.tp)
        self._wake.set()

    def _merger_of(self, message: Any) -> PartitionMerger | None:
        """None of a message of an older assignment."""
        if message.generation_id != self.consumer.app.consumer_generation_id:
            return None
        return self._mergers.get(message.partition)

    @property
    def congested(self) -> bool:
        """Is more merged than a flight should carry, or more held back than we should keep, or does somebody wait for a commit?"""
        gathered = self._gathered
        full = gathered.dirty >= MAX_DIRTY or gathered.sources >= MAX_SOURCES or gathered.size >= MAX_BYTES
        return full or bool(self._hurried) or len(self._held) >= MAX_SOURCES

    async def wait_room(self) -> None:
        """Wait until what is merged fits a flight again."""
        while self.congested:
            self._wake.set()
            self._room.clear()
            await self._room.wait()

    # -- flights

    async def run(self) -> None:
        """Seal and launch flights until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._gather()
            if self.flights.full:
                continue  # a landing flight wakes us
            changed = [self._mergers[partition] for partition in self._gathered.partitions]
            parts = [merger.seal() for merger in changed if not merger.work.empty]
            self._gathered.left()
            for merger in changed:
                if not merger.work.empty:  # what could not be sealed as it was is merged again
                    self._gathered.look(merger.work)
            if not parts:
                continue
            self._room.set()
            self.flights.launch(parts)

    async def _gather(self) -> None:
        """Let changes come together before they are published."""
        end = time.monotonic() + GATHER_SECONDS
        await asyncio.sleep(self._window if len(self.flights) else 0)
        while self._behind() and not self.congested and time.monotonic() < end:  # noqa: ASYNC110  # no event for an end
            await asyncio.sleep(GATHER_STEP_SECONDS)

    def _behind(self) -> bool:
        """Are records known to wait in the log, behind those that were merged?"""
        return any(self.consumer.behind(tp, self._next[tp]) for tp in self._gathered.read)

    def _mended(self, count: int) -> None:
        for merger in self._mergers.values():
            self._gathered.look(merger.work)
        self._metrics.again.inc(count)
        self._wake.set()

    # -- the ground of the flights

    def store(self, part: PartitionFlight, *, alone: bool) -> None:
        """All that it publishes is delivered: now it may stand in the partition's store."""
        self.mender.published(part, alone=alone)
        if part.writes or part.rows:
            store = self._stores[part.partition]
            mark = store.mark.moved(self.mender.settled(part.partition), part.work.group)
            store.write(part.writes, mark, part.rows, part.passed, part.digested.scopes)
        if any(replica == OVER_REPLICA for replica, _ in part.rows):
            self._tell_removed(part.partition)

    def stored(self, part: PartitionFlight) -> None:
        """What was released leaves its tombstones to the next flight."""
        self._gathered.look(self._mergers[part.partition].work)

    def acknowledge(self, part: PartitionFlight) -> None:
        """Its source records are done."""
        for event in part.sources:
            event.ack()
            self.consumer.mark_done(event.message)
        merger = self._mergers.get(part.partition)
        if merger is not None and part.sources:
            merger.committed = max(merger.committed, self.consumer.replays_from(part.sources[-1].message.tp))
        self._tell_parked(part.partition)

    def landed(self) -> None:
        """There is room for another flight."""
        self._wake.set()

    def _tell_removed(self, partition: int) -> None:
        self._removed[partition] = self._mergers[partition].removed_lives
        self._metrics.removed_lives.set(max(self._removed.values()))

    def _tell_parked(self, partition: int) -> None:
        waiting = len(self._mergers[partition].parking)
        self._metrics.parked.inc(waiting - self._parked.get(partition, 0))
        self._parked[partition] = waiting
