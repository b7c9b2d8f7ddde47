"""A merge worker in a world: production's host, pump, device view, mender, recovery and store, on a simulated loop and what stands below (`worker_rim`).

The worker dies at any write and between any two deliveries of a flight (which tears groups), meets a full disk, freezes beyond the session
timeout and ends itself when it thaws, loses its disk, and finds its partitions dealt to the other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from driftlog_schemas import groups
from driftlog_schemas.topics import DEVICES
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import DeliveryFailed, DevicesUnknown, GenerationOver, StoreFailed
from driftlog_streams.registry.device_view import DeviceView
from tests.simulation.disk import Disk
from tests.simulation.group import SESSION_MS, Group
from tests.simulation.life import Life
from tests.simulation.log import LogRecord
from tests.simulation.loop import SimulatedLoop
from tests.simulation.mischief import KINDS
from tests.simulation.network import Producer
from tests.simulation.worker_rim import Changelog, GroupConsumer, Host, KafkaProducer, Recovery

if TYPE_CHECKING:
    from tests.simulation.world import World

DELIVERY_MS = 8_000
COMMIT_SECONDS = 1.0
DRAIN_SECONDS = 15.0
"""As `overrides` has it: so long may what was begun take when a partition is taken away."""


class WorkerProcess:
    """One life of a worker. Ends by death; the node starts the next."""

    def __init__(self, node: WorkerNode) -> None:
        self._node = node
        self.name = node.name
        world = self.world = node.world
        self.life = Life(world.scheduler, node.name)
        self.life.on_death = lambda: node.died("died at a write")
        self.life.on_failure = node.failed
        self.life.owner = self
        self.loop = SimulatedLoop(world.scheduler, self.life, world.threads, self._waits)
        world.loops.append(self.loop)
        self.producer = Producer(world.network, world.log, self.life, node.name, timeout_ms=DELIVERY_MS)
        self.producer.appended = self._appended
        self.kafka_producer, self.changelog = KafkaProducer(self), Changelog(world)
        self.rules = world.rules
        """Of the space as the registry has it."""
        self.group: Group | None = None
        """None until it has joined."""
        self.consumer = GroupConsumer(self)
        self._host: Host | None = None
        self.on_registry: list[Callable[[], None]] = []
        """Told when the device registry has grown."""
        self.registry_stalls_until = 0
        self.recovering = False
        self._changing = asyncio.Lock()
        self._finishing: asyncio.Task[None] | None = None
        self.die_delivering = 0
        """Die when so many more records have been delivered; 0 for never."""
        self.tears = False
        """Die when the log has the first record of a group of several, and no more of it."""
        world.threads.begin(self.life, "start", self._start)

    def _start(self) -> None:
        """As production's host does: know all devices, then join the group."""
        world = self.world
        devices = DeviceView("nowhere", world.rules.records, world.root.public, mend=True)
        try:
            devices.start()
        except DevicesUnknown as error:
            self.ends(error)
            return
        self.rules = world.rules_by(devices)
        self._host = Host(self, devices)
        self.loop.create_task(self.host._merge(self.consumer))
        self.loop.create_task(self._commit_now_and_then())
        self.group = world.group_of(self.rules.space)
        self.group.join(self)

    @property
    def host(self) -> Host:
        """Production's. There is none until the registry was read, and no member of the group either."""
        assert self._host is not None
        return self._host

    def ends(self, error: BaseException) -> None:
        """Production has decided to end the process."""
        if isinstance(error, DevicesUnknown):
            self.world.history.situation("a worker ended because it did not know the devices")
        if isinstance(error, GenerationOver):
            self.world.history.situation("a worker ended because its space goes on elsewhere")
        if isinstance(error, DeliveryFailed | DevicesUnknown | GenerationOver | StoreFailed | OSError):
            self._node.died(str(error))
        elif isinstance(error, Exception):
            self._node.failed(error)

    def has_delivered(self) -> None:
        """One record more is in the log."""
        if self.die_delivering:
            self.die_delivering -= 1
            if not self.die_delivering:
                self._node.died("killed between two deliveries")

    def _appended(self, record: LogRecord) -> None:
        if self.tears and record.topic == self.rules.topics.state and not groups.parse(record.headers).last:
            self._node.died("killed in the middle of a group")

    def _waits(self, call: Any) -> bool:
        """Does a call wait for other threads? Of those that production makes, one does, and where logs are closed another one that asks the same."""
        function = getattr(call, "__func__", None)
        asks = function is DeviceView.catch_up
        self.world.history.situation("a worker asked who may write before it went on", asks)
        return asks or (function is Recovery.without_false_ends and self.world.closes)

    # -- membership

    @property
    def joined(self) -> Group:
        """Its group. There is none before it was joined."""
        assert self.group is not None
        return self.group

    def leave(self) -> None:
        """The group hears no more of this process."""
        if self.group is not None:
            self.group.leave(self)

    def finish(self) -> None:
        self.life.after(1, "finish", self._finish)

    def _finish(self) -> None:
        self.consumer.stop()
        if self._finishing is None or self._finishing.done():
            self._finishing = self.loop.create_task(self._drain())

    async def _drain(self) -> None:
        """As Faust does: wait for what was begun, commit, and give the partitions up."""
        end = self.loop.time() + DRAIN_SECONDS
        while self.consumer.unacked and self.loop.time() < end:  # noqa: ASYNC110  # Faust looks now and then, too
            await asyncio.sleep(0.05)
        async with self._changing:
            self.consumer.commit_now()
            await self.host._revoked(None, None)
            self.joined.finished(self)

    def own(self, partitions: list[int], generation: int) -> None:
        delay = self.world.network.delay()
        self.life.after(delay, f"owns {partitions}", lambda: self.loop.create_task(self._own(partitions, generation)))

    async def _own(self, partitions: list[int], generation: int) -> None:
        async with self._changing:
            if generation < self.joined.generation:
                return
            self.recovering = True
            self._note_torn_groups(partitions)
            try:
                await self.host.take_over(partitions)
                self._take_late(partitions)
            except Exception as error:  # noqa: BLE001  # as the table does: it ends the process
                self.ends(error)
                return
            self.recovering = False
            if generation == self.joined.generation:
                self.consumer.begin(partitions, generation)

    def _note_torn_groups(self, partitions: list[int]) -> None:
        state = self.rules.topics.state
        for partition in partitions:
            end = self.world.log.end(state, partition)
            for last in self.world.log.read(state, partition, end - 1, 1) if end else ():
                if not groups.parse(last.headers).last:
                    self.world.history.situation("a worker began on a torn group")

    def _take_late(self, partitions: list[int]) -> None:
        """What Faust's own recovery finds after ours: states that somebody published meanwhile."""
        late = {}
        for partition in partitions:
            found = self.world.log.read(
                self.rules.topics.state, partition, (self.host.position(partition) or -1) + 1, 1 << 30
            )
            if found:
                late[partition] = [ChangelogRecord(r.key or b"", r.value, r.offset, r.headers) for r in found]
        if late:
            self.host.take_late(late)

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            self.consumer.commit_now()

    def wake(self, topic: str, partition: int) -> None:
        """There may be something to fetch."""
        if topic == self.rules.topics.ops:
            self.consumer.wake(partition)
        for told in self.on_registry if topic == DEVICES else ():
            told()

    def stall_registry(self, duration_ms: int) -> None:
        """Who reads the registry gets nothing for a while."""
        self.registry_stalls_until = self.world.scheduler.now + duration_ms

    def unrest(self) -> str:
        """Why this process is not at rest; empty when it is."""
        pump = None if self._host is None else self._host.pump
        if pump is None or self.recovering:
            return "owns nothing yet"
        watched = [kind(self.rules.name) for kind in KINDS]
        for partition in pump._mergers:
            if reason := pump.mender.unrest(
                partition, {topic: self.world.log.end(topic, partition) for topic in watched}
            ):
                return reason
        if len(pump.flights):
            return f"{len(pump.flights)} flights under way"
        for partition, merger in pump._mergers.items():
            if not merger.work.empty:
                return f"partition {partition} has work to publish"
            if len(merger.parking):
                return f"partition {partition} has {len(merger.parking)} parked"
        return ""

    def bury(self) -> None:
        """Nothing of this life happens any more, but for what is on the wire."""
        self.life.end()
        self.producer.abandon()


class WorkerNode:
    """A slot for worker processes, with its disk."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.disk = Disk(world.scheduler, name)
        self.process: WorkerProcess | None = None

    def start(self) -> None:
        """A new process joins the group."""
        if self.process is None:
            self.process = WorkerProcess(self)
            self.world.scheduler.note(f"{self.name} starts")

    def wake(self, topic: str, partition: int) -> None:
        """The op topic or the device registry has grown."""
        if self.process is not None:
            self.process.wake(topic, partition)

    def stall_registry(self, duration_ms: int) -> None:
        """Who reads the registry gets nothing for a while, though the broker is there."""
        if self.process is not None and not self.world.network.healed:
            self.world.scheduler.note(f"{self.name}: the registry stalls for {duration_ms} ms")
            self.process.stall_registry(duration_ms)

    def died(self, why: str, *, power_cut: bool = False) -> None:
        """The process is gone; the group notices after the session timeout, the supervisor restarts it."""
        process = self.process
        if process is None:
            return
        self.world.scheduler.note(f"{self.name}: {why}")
        self.process = None
        process.bury()
        scheduler = self.world.scheduler
        if power_cut:
            self.disk.after_power_cut()
        else:
            self.disk.after_kill()
        if scheduler.chance(0.3) and not self.world.network.healed:
            self.disk.wipe()
        scheduler.after(SESSION_MS, f"{self.name} session ends", process.leave)
        scheduler.after(scheduler.between(500, 15_000), f"{self.name} restart", self.start)

    def crash_soon(self) -> None:
        """SIGKILL: now, or in the middle of one of the next flights, or at one of the next writes."""
        scheduler = self.world.scheduler
        process = self.process
        if process is None:
            return
        how = scheduler.between(0, 3)
        if how == 0:
            self.disk.die_within(4)
        elif how == 1:
            process.die_delivering = scheduler.between(1, 12)
        else:
            self.died("killed", power_cut=how == 2)

    def tear_soon(self) -> None:
        """SIGKILL in the middle of the next group that can be torn."""
        if self.process is not None:
            self.process.tears = True

    def disk_full(self, duration_ms: int) -> None:
        """No write succeeds for a while."""
        self.world.scheduler.note(f"{self.name}: disk full for {duration_ms} ms")
        self.disk.full = True

        def space_again() -> None:
            self.disk.full = False

        self.world.scheduler.after(duration_ms, f"{self.name} disk has space", space_again)

    def heal(self) -> None:
        """Room, and a process."""
        self.disk.full = False
        self.start()

    def unrest(self) -> str:
        """Why this worker is not at rest; empty when it is."""
        return "down" if self.process is None else self.process.unrest()

    def failed(self, error: Exception) -> None:
        """The process ended by itself, which nobody planned."""
        self.world.history.crashes.append(f"{self.name} at {self.world.scheduler.now}: {type(error).__name__}: {error}")
        self.died("failed")

    def freeze(self, duration_ms: int) -> None:
        """SIGSTOP. If it lasts beyond the session timeout the process is expelled, and ends itself when it thaws."""
        process = self.process
        if process is None:
            return
        self.world.scheduler.note(f"{self.name} freezes for {duration_ms} ms")
        process.life.freeze(duration_ms)
        if duration_ms > SESSION_MS:
            self.world.scheduler.after(SESSION_MS, f"{self.name} expelled", process.leave)
            self.world.scheduler.after(duration_ms, f"{self.name} thaws", lambda: self._thawed(process))

    def _thawed(self, process: WorkerProcess) -> None:
        if self.process is process:
            self.world.history.situation("a worker thawed after its session")
            self.died("stood still for too long")
