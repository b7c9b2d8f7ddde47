"""Every private name of Faust that Driftlog overrides or calls, in one file, with what it must look like.

Pinned to faust-streaming 0.15.3. What stock Faust loses, and what is done instead:

- it may commit past a record that was never acknowledged, and commits what its producer failed to publish: so the commit position of
  op topics is ours alone. `ack` only keeps the books for `wait_empty`; `_new_offset` gives what `mark_done` was told, and
  that is told after delivery and the store's write, in order, for the generation that the record was read in.
- after a rebalance it resumes partitions *before* it seeks them, so that prefetched records of higher offsets get through: so `getmany` lets a
  record pass only after `perform_seek` of the present generation, and only the very next one. A stale prefetch is sought once more; a hole
  that persists is a loss, and the process ends (op topics are not compacted, and what a transaction leaves in them is fetched like all else: `fetched`).
- `wait_empty` waits for ever when acknowledgements have stopped: it is bounded here.
- its clients connect to a broker that is away without any pause: they are given one (`reconnecting`).
- aiokafka sends no heartbeat while partitions are being taken over, and a take-over that is longer than the session timeout would be begun anew
  for ever: `BeatingListener` begins them before it.
- where the broker is silent in a recovery for longer than `broker_request_timeout` it takes that for its own end, logs nothing, and never recovers
  again: the worker keeps its partitions and merges nothing of them. `BoundedRecovery` fails then.
- told to stop in the middle of its start it first waits for the group, longer than its supervisor waits for it: `PromptWorker` does not.
- it spends two asyncio tasks on each record: `FastConsumer` calls the conductor directly when that cannot suspend.

`PRIVATE` is checked by a test against the installed Faust, so that an upgrade fails there and not in production.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import faust
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaTimeoutError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery, ServiceStopped
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ack_lock
from mode.utils.futures import notify

from driftlog_streams.errors import OrderBroken
from driftlog_streams.faust_driver import unpacking
from driftlog_streams.faust_driver.fetched import WholeRecords
from driftlog_streams.faust_driver.reconnecting import pausing
from driftlog_streams.faust_driver.sudden_end import die, leave

DRAIN_SECONDS = 15.0
"""How long a revoked partition's work may take to be delivered; less than the group's rebalance timeout."""
HOLE_SECONDS = 3.0
"""How long a stale prefetch may hide the next record after it was sought again."""

PRIVATE: Mapping[str, tuple[str, ...]] = {
    "faust.transport.consumer.Consumer.ack": ("self", "message"),
    "faust.transport.consumer.Consumer.getmany": ("self", "timeout"),
    "faust.transport.consumer.Consumer.perform_seek": ("self",),
    "faust.transport.consumer.Consumer.seek": ("self", "partition", "offset"),
    "faust.transport.consumer.ThreadDelegateConsumer.highwater": ("self", "tp"),
    "faust.transport.consumer.Consumer.wait_empty": ("self",),
    "faust.transport.consumer.Consumer.commit": ("self", "topics=None", "start_new_transaction=True"),
    "faust.transport.consumer.Consumer.on_partitions_assigned": ("self", "assigned", "generation_id=0"),
    "faust.transport.consumer.Consumer._new_offset": ("self", "tp"),
    "faust.transport.consumer.Consumer._drain_messages": ("self", "fetcher"),
    "faust.transport.consumer.Consumer._filter_tps_with_pending_acks": ("self", "topics=None"),
    "faust.transport.drivers.aiokafka.Consumer._new_consumer_thread": ("self",),
    "faust.transport.drivers.aiokafka.AIOKafkaConsumerThread._create_worker_consumer": ("self", "transport"),
    "faust.transport.drivers.aiokafka.ConsumerRebalanceListener.on_partitions_assigned": ("self", "assigned"),
    "aiokafka.consumer.group_coordinator.GroupCoordinator._start_heartbeat_task": ("self",),
    "aiokafka.client.AIOKafkaClient._get_conn": ("self", "node_id", "group=<ConnectionGroup.DEFAULT: 0>", "no_hint=False"),
    "faust.app.base.App._new_transport": ("self",),
    "mode.worker.Worker._schedule_shutdown": ("self", "signal"),
    "faust.tables.recovery.Recovery._wait": ("self", "coro", "timeout=None"),
    "faust.tables.base.Collection._changelog_topic_name": ("self",),
    "faust.tables.base.Collection.persisted_offset": ("self", "tp"),
    "faust.tables.base.Collection.apply_changelog_batch": ("self", "batch"),
    "faust.tables.base.Collection.on_rebalance": (
        "self", "assigned", "revoked", "newly_assigned", "generation_id=0",
    ),
}  # fmt: skip
"""What is overridden or called, and the parameters that it has in the pinned version."""

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "faust.transport.consumer.Consumer": (
        "_committed_offset", "_read_offset", "_unacked_messages", "_waiting_for_ack", "_n_acked", "_commit_every",
    ),
    "faust.transport.conductor.Conductor": ("_tp_index",),
    "faust.tables.manager.TableManager": ("_recovery",),
    "faust.tables.recovery.Recovery": ("raise ServiceStopped()", "except ServiceStopped as exc:"),
    "aiokafka.consumer.consumer.AIOKafkaConsumer": ("_client", "_coordinator"),
    "aiokafka.consumer.group_coordinator.GroupCoordinator": ("self._heartbeat_task is None",),
    "aiokafka.consumer.fetcher.Fetcher": ("MemoryRecords(part_data[-1])",),
    "aiokafka.consumer.fetcher.PartitionRecords": (
        "next_batch.validate_crc()", "next_batch.is_control_batch", "in next_batch:", "next_batch.next_offset",
    ),
}  # fmt: skip
"""Private attributes that are read or written; the test looks for their names in the sources."""


class OurThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its thread, with pauses between attempts to connect, and with nothing left out of what is fetched, and no more unpacked than fits."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        fetcher.MemoryRecords = WholeRecords  # the fetcher makes it by this name
        unpacking.bound()
        consumer = super()._create_worker_consumer(transport)
        pausing(consumer._client)
        return consumer


class BeatingListener(driver.ConsumerRebalanceListener):
    """Faust's listener in the consumer's thread, but that this member stays in the group for as long as it takes partitions over."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """See `faust.transport.drivers.aiokafka.ConsumerRebalanceListener`."""
        self._thread._ensure_consumer()._coordinator._start_heartbeat_task()
        await super().on_partitions_assigned(assigned)


class SafeConsumer(driver.Consumer):
    """A consumer whose op topics are committed, ordered and drained by our rules."""

    RebalanceListener = BeatingListener

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.manual: set[str] = set()
        """The op topics."""
        self._done: dict[TP, int] = {}
        self._expected: dict[TP, int] = {}
        self._holes: dict[TP, tuple[float, int]] = {}
        """Partition -> since when its next record is missing, and the first one behind it."""
        self._sought_generation: int | None = None
        self.stale = 0
        """Records dropped because they came out of their order; they came again in it."""

    def _new_consumer_thread(self) -> OurThread:
        return OurThread(self, loop=self.loop, beacon=self.beacon)

    # -- the commit position

    def ack(self, message: Any) -> bool:
        """Bookkeeping for `wait_empty` only; an acknowledged op record is committed through `mark_done`."""
        if message.topic not in self.manual:
            return bool(super().ack(message))
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            notify(self._waiting_for_ack)
            return True

    def mark_done(self, message: Any) -> None:
        """Everything up to this record is delivered and stored. A record of an older generation counts nothing."""
        if message.generation_id != self.app.consumer_generation_id:
            return
        done = self._done.get(message.tp)
        assert done is None or message.offset >= done, "records are done in their order"
        self._done[message.tp] = message.offset + 1
        self._n_acked += 1

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.manual:
            return self._done.get(tp)
        offset: int | None = super()._new_offset(tp)
        return offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from (tp for tp in super()._filter_tps_with_pending_acks(topics) if tp.topic not in self.manual)
        for tp in list(self._done):
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    # -- what is let through

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Positions of older generations are void."""
        self._done.clear()
        self._expected.clear()
        self._holes.clear()
        self._sought_generation = None
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seek to what is committed, and from then on expect exactly that."""
        generation = self.app.consumer_generation_id
        await super().perform_seek()
        mine = [tp for tp in self.assignment() if tp.topic in self.manual]
        fresh = [tp for tp in mine if self._committed_offset.get(tp) is None]
        first = await self.earliest_offsets(*fresh) if fresh else {}
        if generation != self.app.consumer_generation_id:
            return
        for tp in mine:
            committed = self._committed_offset.get(tp)
            # What was done in this generation is merged, although its commit may still be under way.
            position = committed if committed is not None else first.get(tp) or 0
            self._expected[tp] = max(position, self._done.get(tp, 0))
        self._holes.clear()
        self._sought_generation = generation

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109  # Faust's signature
        """Only the next record of each partition, only after the seek of this generation."""
        async for tp, message in super().getmany(timeout):
            if tp.topic in self.manual and not await self._is_next(tp, message.offset):
                self.stale += 1
                continue
            yield tp, message
        await self._ask_for_what_is_missing()

    async def _is_next(self, tp: TP, offset: int) -> bool:
        if self._sought_generation != self.app.consumer_generation_id:
            return False
        expected = self._expected.get(tp)
        if expected is None or offset < expected:
            return False
        if offset > expected:
            await self._seek_again(tp, expected, offset)
            return False
        self._holes.pop(tp, None)
        self._expected[tp] = offset + 1
        return True

    async def _seek_again(self, tp: TP, expected: int, offset: int) -> None:
        now = time.monotonic()
        known = self._holes.get(tp)
        if known is None:
            self._holes[tp] = (now, offset)
            await self.seek(tp, expected)
            return
        since, following = known[0], min(known[1], offset)
        self._holes[tp] = (since, following)
        if now - since > HOLE_SECONDS:
            die(
                OrderBroken(
                    f"{tp.topic}[{tp.partition}] has no record {expected}; the next one is {following}: ops are lost",
                    f"raise the topic's retention; to go on without them, stop all workers and set the group's commit: "
                    f"kafka-consumer-groups --group {self.app.conf.id} --topic {tp.topic}:{tp.partition} "
                    f"--reset-offsets --to-offset {following} --execute",
                )
            )

    async def _ask_for_what_is_missing(self) -> None:
        """Where nothing more comes behind a hole, what is there is fetched once more, for `_seek_again` to judge."""
        now = time.monotonic()
        for tp, (since, _) in list(self._holes.items()):
            if now - since > HOLE_SECONDS:
                await self.seek(tp, self._expected[tp])

    def replays_from(self, tp: TP) -> int:
        """From where a crash would read again."""
        return self._committed_offset.get(tp) or 0

    def behind(self, tp: TP, following: int) -> bool:
        """Is a record at or after `following` known to be in the log, and on its way to us? As of the last fetch; costs no request."""
        if not self.flow_active:
            return False  # a rebalance waits for what was begun
        end = self.log_end(tp)
        return end is not None and following < end

    def log_end(self, tp: TP) -> int | None:
        """Where the log ended at the last fetch; costs no request."""
        try:
            end: int | None = self.highwater(tp)
        except (AssertionError, AttributeError):  # the consumer's thread is just losing the partition
            return None
        return end

    # -- the end

    async def wait_empty(self) -> None:
        """Wait until what was begun is acknowledged; give up after a while: the rest is replayed."""
        task = asyncio.ensure_future(super().wait_empty())
        done, _ = await asyncio.wait([task], timeout=DRAIN_SECONDS)
        if not done:
            self.log.warning("gave up waiting for %d records; they will be read again", len(self._unacked_messages))
            self._unacked_messages.clear()
            await asyncio.wait([task], timeout=5)


class FastConsumer(SafeConsumer):
    """`SafeConsumer` without two tasks per record."""

    async def _drain_messages(self, fetcher: Any) -> None:
        app, callback = self.app, self.callback
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                records = self.getmany(timeout=1.0)
                await self.sleep(0)
                if self.should_stop:
                    break
                since_yield = 0
                async for tp, message in records:
                    since_yield += 1
                    if since_yield >= 100:
                        since_yield = 0
                        await asyncio.sleep(0)
                    offset = message.offset
                    read = self._read_offset[tp]
                    if read is not None and offset < read:
                        continue
                    if self._commit_every is not None and self._n_acked >= self._commit_every:
                        self._n_acked = 0
                        await self.commit()
                    generation = message.generation_id
                    if self.flow_active and app.flow_control.is_active() and not self._congested(tp):
                        await callback(message)  # cannot suspend here: no task needed
                    else:
                        await self.wait_first(callback(message), self.suspend_flow.wait())
                    if generation == app.consumer_generation_id and self.flow_active:
                        self._read_offset[tp] = offset
        except self.consumer_stopped_errors:
            if not app.should_stop:
                raise
        except asyncio.CancelledError:
            if not app.should_stop:
                raise

    def _congested(self, tp: TP) -> bool:
        conductor: Any = self.app.topics
        return any(channel.queue.full() for channel in conductor._tp_index.get(tp, ()))


class FaustApp(faust.App):
    """A Faust app on our consumer."""

    def _new_transport(self) -> Any:
        transport: Any = super()._new_transport()
        transport.Consumer = FastConsumer
        return transport


class PromptWorker(faust.Worker):
    """Faust's program around an app. A signal that comes while `idle` ends the process at once: nothing it holds needs saving."""

    def __init__(self, app: FaustApp, idle: Callable[[], bool], **options: Any) -> None:
        super().__init__(app, **options)
        self.spinner = None  # it writes a terminal's codes between the lines of a log
        self._idle = idle

    def work(self) -> None:
        """Until it is told to stop; then the process exits with 0. Raises what Faust has given up for, which Faust only logs."""
        try:
            self.execute_from_commandline()
        except SystemExit as ended:
            gave_up = self.crash_reason or ended.__context__
            if ended.code and gave_up is not None:
                raise gave_up from None
            raise

    def _schedule_shutdown(self, signal: Any) -> None:
        if self._idle():
            leave()
        super()._schedule_shutdown(signal)


class BoundedRecovery(Recovery):
    """Faust's recovery, but that a step which takes too long ends the process."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109  # Faust's signature
        try:
            await super()._wait(coro, timeout)
        except ServiceStopped:
            if self.should_stop:
                raise
            raise KafkaTimeoutError(f"the broker was silent for {timeout} s while partitions were taken over") from None


class BoundedTables(TableManager):
    """Faust's tables, with our recovery."""

    @property
    def recovery(self) -> Recovery:
        """See `faust.tables.manager.TableManager`."""
        if self._recovery is None:
            self._recovery = BoundedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class StateTable(Table[bytes, bytes]):
    """A table whose changelog has the name that edges know. What it stores is `table.CrdtTable`'s business."""

    state_topic = ""

    def _changelog_topic_name(self) -> str:
        return self.state_topic
