"""A merge worker on the simulated rim: the real admission, merger, parking, flights and recovery, driven as the Faust worker does.

What is simulated is only what the worker's rim does: fetching, publishing, storing, committing. The worker dies at any write and
between any two deliveries of a flight (which tears groups), freezes beyond the session timeout and ends itself when it thaws, loses its disk,
and finds its partitions dealt to the other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from driftlog_schemas.messages import ParkedCommand
from driftlog_schemas.topics import parked_topic, receipts_topic, state_topic
from driftlog_streams.core.admission import admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_watch import ChangelogWatch
from driftlog_streams.core.flight import Effect, Flight, FlightDeck, Stage
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.restoration import ChangelogRecord, Recovered, Restoration
from driftlog_streams.core.state_cache import ENTRY_BYTES, CacheRoom, StateCache
from driftlog_streams.core.store_mark import StoreMark
from tests.simulation.app import SPACE
from tests.simulation.disk import Disk, Put
from tests.simulation.group import OPS, SESSION_MS
from tests.simulation.history import StoreWrite
from tests.simulation.life import Life
from tests.simulation.log import LogRecord
from tests.simulation.network import Producer

if TYPE_CHECKING:
    from tests.simulation.world import World

STATE = state_topic(SPACE.name)
PARKED = parked_topic(SPACE.name)
RECEIPTS = receipts_topic(SPACE.name)
DELIVERY_MS = 8_000
CHECK_MS = 2_000
_META = b"\x00meta"


class DiskStore:
    """The store of one partition on a simulated disk: what `partition_store.PartitionStore` is on RocksDB."""

    def __init__(self, disk: Disk, partition: int) -> None:
        self._disk = disk
        self._name = f"states-{partition}"
        self.mark = StoreMark.decode(disk.family(self._name).get(_META))

    def get(self, key: bytes) -> bytes | None:
        return self._disk.family(self._name).get(key)

    def row(self, replica: str) -> bytes | None:
        return self._disk.family(f"{self._name}-rows").get(replica.encode())

    def write(
        self,
        states: Iterable[tuple[bytes, bytes | None]],
        mark: StoreMark,
        rows: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        puts = [Put(self._name, key, value) for key, value in states]
        puts += [Put(f"{self._name}-rows", replica.encode(), value) for replica, value in rows]
        self._disk.write([*puts, Put(self._name, _META, mark.encode())], sync=False)
        self.mark = mark


class WorkerProcess:
    """One life of a worker. Ends by death; the node starts the next."""

    def __init__(self, node: WorkerNode) -> None:
        self._node = node
        self.name = node.name
        world = self._world = node.world
        self.life = Life(world.scheduler, node.name)
        self.life.on_death = lambda: node.died("died at a write")
        self.life.on_failure = node.failed
        self._producer = Producer(world.network, world.log, self.life, node.name, timeout_ms=DELIVERY_MS)
        self._deck: FlightDeck = world.variant.deck()
        self._restoration = Restoration(world.rules)
        self._generation = -1
        self._mergers: dict[int, PartitionMerger] = {}
        self._stores: dict[int, DiskStore] = {}
        self._next: dict[int, int] = {}
        self._watch = ChangelogWatch()
        self._fetching: set[int] = set()
        self._finishing = False
        self._sealing = False
        self.life.after(CHECK_MS, "check", self._check)
        self.die_delivering = 0
        """Die when so many more records have been delivered; 0 for never."""

    # -- membership

    def finish(self) -> None:
        self.life.after(1, "finish", self._finish)

    def _finish(self) -> None:
        self._finishing = True
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if self._finishing and not len(self._deck) and all(m.work.empty for m in self._mergers.values()):
            self._world.group.finished(self)

    def own(self, partitions: list[int], generation: int) -> None:
        delay = self._world.network.delay()
        self.life.after(delay, f"owns {partitions}", lambda: self._own(partitions, generation))

    def _own(self, partitions: list[int], generation: int) -> None:
        if generation < self._world.group.generation:
            return
        if len(self._deck):
            self._node.died("flights were under way when the partitions were taken away")
            return
        self._generation = generation
        self._finishing = False
        self._mergers, self._stores, self._next = {}, {}, {}
        self._watch.forget()
        for partition in partitions:
            self.life.after(
                self._world.network.delay(), f"recover {partition}", lambda p=partition: self._recover(p, generation)
            )

    def _recover(self, partition: int, generation: int) -> None:
        world = self._world
        if generation != self._generation:
            return
        store = self._stores[partition] = DiskStore(self._node.disk, partition)
        recovered = Recovered(committed=world.log.committed(OPS, partition))
        end = world.log.end(STATE, partition)
        for block in self._blocks(STATE, partition, store.mark.position + 1):
            self._restoration.take(store, recovered, block)
        if end - 1 > store.mark.position:
            store.write((), store.mark.moved(end - 1, store.mark.group))
        for block in self._blocks(RECEIPTS, partition, store.mark.rows + 1):
            self._restoration.take_rows(store, recovered, block)
        cache = StateCache(store.get, CacheRoom(world.scheduler.between(4, 16) * ENTRY_BYTES))
        book = ChainBook(store.row, world.rules.records, world.scheduler.between(1, 4))
        merger = world.variant.merger(world.rules, partition, cache, book)
        for parked in self._parked(partition):
            merger.restore(parked, world.devices)
        merger.resume(recovered.committed)
        for key in sorted(recovered.stale):
            merger.publish_again(key)
        for replica in sorted(recovered.stale_rows):
            merger.publish_row_again(replica)
        self._watch.own(partition, store.mark.position + 1)
        self._mergers[partition] = merger
        self._next[partition] = recovered.committed
        self.wake(partition)
        self._fly_soon()

    def _blocks(self, topic: str, partition: int, at: int) -> Iterator[list[ChangelogRecord]]:
        log, scheduler = self._world.log, self._world.scheduler
        while block := log.read(topic, partition, at, scheduler.between(1, 50)):
            yield [ChangelogRecord(r.key or b"", r.value, r.offset, r.headers) for r in block]
            at = block[-1].offset + 1

    def _parked(self, partition: int) -> list[ParkedCommand]:
        waiting: dict[bytes, bytes] = {}
        for record in self._world.log.read(PARKED, partition, 0, 1 << 30):
            waiting.pop(record.key or b"", None)
            if record.value is not None:
                waiting[record.key or b""] = record.value
        return [self._world.rules.records.decode_parked(value) for value in waiting.values()]

    # -- fetching and merging

    def wake(self, partition: int) -> None:
        """There may be something to fetch."""
        if partition in self._fetching or partition not in self._mergers:
            return
        self._fetching.add(partition)
        wait = self._world.network.arrival(self.name) - self._world.scheduler.now
        self.life.after(wait, f"fetch {partition}", lambda: self._fetch(partition))

    def _fetch(self, partition: int) -> None:
        self._fetching.discard(partition)
        merger = self._mergers.get(partition)
        if merger is None or self._finishing:
            return
        scheduler = self._world.scheduler
        records = self._world.log.read(OPS, partition, self._next[partition], scheduler.between(1, 8))
        for record in records:
            assert record.offset == self._next[partition], "the op topic is read without a hole"
            admission = admit(
                record.value or b"", record.timestamp_ms, partition, self._world.rules, self._world.devices
            )
            merger.merge(admission, record.offset, record.timestamp_ms, record.offset)
            self._next[partition] = record.offset + 1
        if records:
            self._fly_soon()
            self.wake(partition)

    # -- flights

    def _fly_soon(self) -> None:
        if not self._sealing:
            self._sealing = True
            self.life.after(self._world.scheduler.between(0, 60), "seal", self._fly)

    def _fly(self) -> None:
        self._sealing = False
        parts = [m.seal() for m in self._mergers.values() if not m.work.empty] if not self._deck.full else []
        if parts:
            self._deck.add(Flight(parts))
            if any(not m.work.empty for m in self._mergers.values()):
                self._fly_soon()
        self._pump()

    def _pump(self) -> None:
        for effect in self._deck.effects():
            self._carry_out(effect)
        self._tell_if_idle()

    def _carry_out(self, effect: Effect) -> None:
        match effect.stage:
            case Stage.FIRST | Stage.SECOND:
                self._publish(effect)
            case Stage.STORE:
                self.life.after(0, "store", lambda: self._store(effect))
            case _:
                self.life.after(0, "ack", lambda: self._acknowledge(effect))

    def _done(self, effect: Effect) -> None:
        self._deck.finished(effect.flight, effect.stage)
        if not self._deck.full and any(not m.work.empty for m in self._mergers.values()):
            self._fly_soon()
        self._pump()

    def _publish(self, effect: Effect) -> None:
        flight = effect.flight
        records = flight.records(effect.stage)
        if not records:
            self.life.after(0, "nothing to publish", lambda: self._done(effect))
            return
        generation = self._generation
        left = len(records)

        def told(record: LogRecord | None) -> None:
            nonlocal left
            if generation != self._generation:
                return
            if record is None:
                self._node.died("delivery failed")
                return
            if self.die_delivering:
                self.die_delivering -= 1
                if not self.die_delivering:
                    self._node.died("killed between two deliveries")
                    return
            for part in flight.partitions:
                if part.partition == record.partition:
                    at = record.offset
                    part.delivered(at if record.topic == STATE else -1, at if record.topic == RECEIPTS else -1)
            left -= 1
            if not left:
                self._done(effect)

        for out in records:
            self._producer.send(out.topic, out.partition, out.key, out.value, tuple(out.headers), told)

    def _store(self, effect: Effect) -> None:
        world = self._world
        for part in effect.flight.partitions:
            store = self._stores.get(part.partition)
            if store is None or not (part.writes or part.rows):
                continue
            for key, value in part.writes:
                end = world.log.end(STATE, part.partition)
                world.history.store_writes.append(
                    StoreWrite(world.scheduler.now, self.name, part.partition, key, value, end)
                )
            store.write(part.writes, part.moved(store.mark, alone=len(self._deck) == 1), part.rows)
            if part.writes:
                self._look(
                    part.partition, self._watch.published(part.partition, len(part.writes), part.last_state_offset)
                )
        self._done(effect)

    def _acknowledge(self, effect: Effect) -> None:
        for part in effect.flight.partitions:
            if part.sources:
                self._world.group.commit(self, self._generation, part.partition, part.sources[-1] + 1)
                if (merger := self._mergers.get(part.partition)) is not None:
                    merger.committed = self._world.log.committed(OPS, part.partition)
        self._done(effect)

    # -- the watch over what others write

    def _check(self) -> None:
        self.life.after(CHECK_MS, "check", self._check)
        if not len(self._deck):
            for partition in self._mergers:
                self._look(partition, self._watch.ended(partition, self._world.log.end(STATE, partition)))

    def _look(self, partition: int, offsets: range | None) -> None:
        if offsets is None:
            return
        last: dict[bytes, bytes | None] = {}
        for record in self._world.log.read(STATE, partition, offsets.start, 1 << 30):
            if record.offset < offsets.stop:
                last[record.key or b""] = record.value
        for key, value in last.items():
            self._mergers[partition].heard(key, value)
        self._fly_soon()

    def unrest(self) -> str:
        """Why this process is not at rest; empty when it is."""
        for partition in self._mergers:
            if self._watch.behind(partition, self._world.log.end(STATE, partition)):
                return f"partition {partition} has states that were not looked at"
        if len(self._deck):
            return f"{len(self._deck)} flights under way"
        for partition, merger in self._mergers.items():
            if not merger.work.empty:
                return f"partition {partition} has work to publish"
            if len(merger.parking):
                return f"partition {partition} has {len(merger.parking)} parked"
        return ""

    def bury(self) -> None:
        """Nothing of this life happens any more, but for what is on the wire."""
        self.life.end()
        self._producer.abandon()


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
            self.world.group.join(self.process)

    def wake(self, partition: int) -> None:
        """The op topic has grown."""
        if self.process is not None:
            self.process.wake(partition)

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
        scheduler.after(SESSION_MS, f"{self.name} session ends", lambda: self.world.group.leave(process))
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
            self.world.scheduler.after(SESSION_MS, f"{self.name} expelled", lambda: self.world.group.leave(process))
            self.world.scheduler.after(duration_ms, f"{self.name} thaws", lambda: self._thawed(process))

    def _thawed(self, process: WorkerProcess) -> None:
        if self.process is process:
            self.died("stood still for too long")
