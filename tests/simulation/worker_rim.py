"""What stands below a worker's rim in a world: Kafka's clients on the simulated log, RocksDB on the simulated disk, Faust's consumer.

Everything above is production's: host, pump, device view (see `registry_rim`), publisher, mender, recovery and partition store. The consumer is the simplest that keeps what
`overrides.SafeConsumer` promises: records in their order, a position that only moves with what is done, and is committed now and then.

One rim is not here: Faust's consumer lives in threads and loops of its own (aiokafka's, mode's), which no simulated time reaches.
`unit/streams/driver` drives it over `fake_kafka`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition
from faust.types import TP

from driftlog_schemas.topics import state_topic
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.host import WorkerHost
from driftlog_streams.faust_driver.recovery import ChangelogRecovery
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.telling.health import Health
from driftlog_streams.telling.metrics import WorkerMetrics
from tests.fake_kafka.broker import Stored
from tests.fake_kafka.clients import Message
from tests.simulation.disk import Disk, Family, OutOfSpace, Put
from tests.simulation.history import StoreWrite
from tests.simulation.log import LogRecord

if TYPE_CHECKING:
    from tests.simulation.worker_node import WorkerProcess
    from tests.simulation.world import World

LOG_APPEND_TIME = 1


class Folder(PurePosixPath):
    """A folder of a simulated disk."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None: ...

    def exists(self) -> bool:
        return False


class Batch:
    """`rocksdict.WriteBatch`."""

    def __init__(self, raw_mode: bool = False) -> None:
        self.puts: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.puts.append((key, value))

    def delete(self, key: bytes) -> None:
        self.puts.append((key, None))


class Database:
    """`rocksdict.Rdict` of a worker: a key begins with the four bytes of its partition."""

    def __init__(self, world: World, folder: PurePosixPath) -> None:
        self._world = world
        self._worker, self._space = folder.parts[:2]
        self._family = "/".join(folder.parts[1:])

    @property
    def _disk(self) -> Disk:
        return self._world.worker(self._worker).disk

    def get(self, key: bytes) -> bytes | None:
        return self._disk.family(self._family).get(key)

    def write(self, batch: Batch, options: Any) -> None:
        node = self._world.worker(self._worker)
        if node.process is not None and not node.process.recovering:
            self._record(batch)
        try:
            self._disk.write([Put(self._family, key, value) for key, value in batch.puts], sync=False)
        except OutOfSpace as error:
            self._world.history.situation("a worker met a full disk")
            raise OSError(28, "No space left on device") from error

    def _record(self, batch: Batch) -> None:
        world = self._world
        for place, value in batch.puts:
            partition, key = int.from_bytes(place[:4], "big"), place[4:]
            if not key.startswith(b"\x00") and value is not None:
                end = world.log.end(state_topic(self._space), partition)
                place = self._space, partition
                write = StoreWrite(world.scheduler.now, self._worker, place, key, value, end)
                world.history.store_writes.append(write)

    def iter(self) -> Cursor:
        return Cursor(self._disk.family(self._family))

    def close(self) -> None: ...


class Cursor:
    """`rocksdict.RdictIter`: sees what is there when it is set."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._rest: Iterator[tuple[bytes, bytes]] = iter(())
        self._at: tuple[bytes, bytes] | None = None

    def seek(self, key: bytes) -> None:
        self._rest = self._family.scan(key, key[:4] + b"\xff")
        self.next()

    def next(self) -> None:
        self._at = next(self._rest, None)

    def valid(self) -> bool:
        return self._at is not None

    def key(self) -> bytes:
        assert self._at is not None
        return self._at[0]

    def value(self) -> bytes:
        assert self._at is not None
        return self._at[1]


class Reading:
    """`confluent_kafka.Consumer` that reads assigned partitions, in blocks as they come."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: dict[tuple[str, int], int] = {}

    def committed(self, partitions: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        log = self._world.log
        positions = [(p.topic, p.partition, log.committed(p.topic, p.partition)) for p in partitions]
        return [TopicPartition(topic, partition, at or OFFSET_INVALID) for topic, partition, at in positions]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        log, place = self._world.log, (partition.topic, partition.partition)
        return log.begins(*place), log.end(*place)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._at = {(p.topic, p.partition): p.offset for p in partitions}

    def consume(self, limit: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        log, chance = self._world.log, self._world.scheduler
        for (topic, partition), at in list(self._at.items()):
            records = log.read(topic, partition, at, chance.between(1, 50))
            for r in records:
                stored = Stored(r.offset, r.key, r.value, r.headers, r.timestamp_ms)
                found.append(Message(topic, partition, stored, None, r.offset))
            if records:
                self._at[topic, partition] = records[-1].offset + 1
            else:
                end = log.end(topic, partition)
                found.append(Message(topic, partition, None, KafkaError(KafkaError._PARTITION_EOF), end))
        return found

    def unassign(self) -> None:
        self._at = {}

    def close(self) -> None: ...


class Recovery(ChangelogRecovery):
    """Production's, reading the simulated log."""

    def __init__(self, world: World, rules: SpaceRules) -> None:
        super().__init__("nowhere", rules)
        self._world = world

    def _consumer(self) -> Any:
        return Reading(self._world)

    def _topic_ids(self) -> tuple[str, str]:
        return "one life", "one log"


class Changelog:
    """`ChangelogReader`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {place: self._world.log.end(*place) for place in places}

    def records(self, topic: str, partition: int, offsets: range) -> list[ChangelogRecord]:
        found = self._world.log.read(topic, partition, offsets.start, len(offsets))
        return [
            ChangelogRecord(r.key or b"", r.value, r.offset, r.headers, r.timestamp_ms)
            for r in found
            if r.offset < offsets.stop
        ]


class KafkaProducer:
    """`confluent_kafka.Producer` of a worker process; it tells of what was sent to a partition in its order, as librdkafka does."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._sent: dict[tuple[str, int], deque[_Report]] = defaultdict(deque)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes,
        partition: int,
        on_delivery: Any = lambda error, message: None,
        headers: Any = None,
    ) -> None:
        report = _Report(on_delivery)
        self._sent[topic, partition].append(report)

        def told(record: LogRecord | None) -> None:
            if record is not None:
                self._process.has_delivered()
            error = None if record else KafkaError(KafkaError._MSG_TIMED_OUT)
            report.answer = error, Message(topic, partition, None, error, record.offset if record else OFFSET_INVALID)
            self._tell(topic, partition)

        self._process.producer.send(topic, partition, key, value, tuple(headers or ()), told)

    def _tell(self, topic: str, partition: int) -> None:
        waiting = self._sent[topic, partition]
        while waiting and waiting[0].answer is not None:
            report = waiting.popleft()
            report.told(*report.answer)  # type: ignore[misc]  # it is there

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """What is on the wire may still arrive; of all that waits it is told soon that it failed."""
        self._process.producer.abandon()
        self._process.life.after(0, "purged", self._purged)

    def _purged(self) -> None:
        error = KafkaError(KafkaError._PURGE_QUEUE)
        for (topic, partition), waiting in list(self._sent.items()):
            for report in waiting:
                report.answer = report.answer or (error, Message(topic, partition, None, error, OFFSET_INVALID))
            self._tell(topic, partition)

    def poll(self, timeout: float) -> int:
        return 0


@dataclass(slots=True)
class _Report:
    told: Callable[[KafkaError | None, Message], None]
    answer: tuple[KafkaError | None, Message] | None = None


class NoThread:
    """`threading.Thread` where the loop does what it would do."""

    def __init__(self, **options: Any) -> None: ...

    def start(self) -> None: ...


class GroupConsumer:
    """The member's consumer, as host and pump know it, and the stream that an agent reads."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self.app = SimpleNamespace(consumer_generation_id=-1)
        self.manual: set[str] = set()
        self.unacked: set[tuple[TP, int]] = set()
        self.current_event: Any = None
        self._done: dict[TP, int] = {}
        self._next: dict[int, int] = {}
        self._fetching: set[int] = set()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.flowing = False

    # -- membership

    def stop(self) -> None:
        """Let nothing further through."""
        self.flowing = False

    def begin(self, partitions: Iterable[int], generation: int) -> None:
        """Read these from where the group is."""
        log = self._process.world.log
        self.app.consumer_generation_id = generation
        self._done.clear()
        self.unacked.clear()
        self._queue = asyncio.Queue()
        self._next = {p: log.committed(self._process.rules.topics.ops, p) for p in partitions}
        self.flowing = True
        for partition in self._next:
            self.wake(partition)

    async def commit(self) -> None:
        """As Faust's."""
        self.commit_now()

    def commit_now(self) -> None:
        """Tell the group how far we are, if we are still in it."""
        for tp, position in self._done.items():
            self._process.joined.commit(self._process, self.app.consumer_generation_id, tp.partition, position)

    # -- what the pump asks

    def behind(self, tp: TP, following: int) -> bool:
        return self.flowing and following < self._process.world.log.end(*tp)

    def log_end(self, tp: TP) -> int | None:
        return self._process.world.log.end(*tp)

    def replays_from(self, tp: TP) -> int:
        return self._process.world.log.committed(*tp)

    def mark_done(self, message: Any) -> None:
        if message.generation_id == self.app.consumer_generation_id:
            self._done[message.tp] = message.offset + 1

    # -- fetching

    def wake(self, partition: int) -> None:
        """There may be something to fetch."""
        if self.flowing and partition in self._next and partition not in self._fetching:
            self._fetching.add(partition)
            world = self._process.world
            wait = world.network.arrival(self._process.name) - world.scheduler.now
            self._process.life.after(wait, f"fetch {partition}", lambda: self._fetch(partition))

    def _fetch(self, partition: int) -> None:
        self._fetching.discard(partition)
        if not self.flowing or partition not in self._next:
            return
        world = self._process.world
        ops = self._process.rules.topics.ops
        records = world.log.read(ops, partition, self._next[partition], world.scheduler.between(1, 8))
        for record in records:
            assert record.offset == self._next[partition], "the op topic is read without a hole"
            self._next[partition] = record.offset + 1
            message = _message(record, self.app.consumer_generation_id)
            self.unacked.add((message.tp, record.offset))
            self._queue.put_nowait(message)
        if records:
            self.wake(partition)

    # -- the agent's stream

    def noack(self) -> GroupConsumer:
        return self

    async def __aiter__(self) -> Any:
        while True:
            try:
                async with asyncio.timeout(1.0):
                    message = await self._queue.get()
            except TimeoutError:  # a rebalance gives a new queue
                continue
            self.current_event = Event(self, message)
            yield message.value


class Event:
    """A record on its way through the agent."""

    def __init__(self, consumer: GroupConsumer, message: Any) -> None:
        self._consumer = consumer
        self.message = message

    def ack(self) -> None:
        self._consumer.unacked.discard((self.message.tp, self.message.offset))


class Host(WorkerHost):
    """Production's host without a Faust app around it."""

    def __init__(self, process: WorkerProcess, devices: DeviceView) -> None:
        self._rules = process.rules
        self._settings = SimpleNamespace(
            kafka="nowhere", session_timeout=10.0, window_ms=2.0, cache_mb=1, standby=False
        )
        self._folder = Folder(process.name, process.rules.name)  # type: ignore[assignment]
        self._slot = process.name
        self.metrics = WorkerMetrics(process.rules.name)
        self._devices = devices
        self._process = process
        self._recovery = Recovery(process.world, process.rules)
        self._recovered = {}
        self._store = None
        self.health = Health()
        self._pulse = SimpleNamespace(check=lambda: None)  # type: ignore[assignment]  # a thawed process is ended by the node
        self._publisher = None
        self._cloud = process.world.cloud
        self._key_watch = None
        self._runner = None
        self._filling = asyncio.Lock()
        self.pump = None
        self.app = SimpleNamespace(consumer=process.consumer)  # type: ignore[assignment]

    def _forgetter(self, pump: Any, identity: Any, publisher: Any) -> Any:
        if not self._process.world.retention_ms:
            return SimpleNamespace(run=asyncio.Event().wait)
        from tests.simulation.forgetting import forgetter

        process = self._process
        return forgetter(process.world, process.rules, process.changelog, self._devices, publisher, pump)

    def _settler(self, pump: Any, identity: Any, publisher: Any) -> Any:
        if not self._process.world.settles:
            return SimpleNamespace(run=asyncio.Event().wait)
        from tests.simulation.settling import settler

        return settler(self._process.world, self._process.changelog, publisher, pump)

    def _fleet_watch(self, pump: Any) -> Any:
        """Nothing is decided by it, nor by the next."""
        return SimpleNamespace(run=asyncio.Event().wait)

    def _owned_watch(self, pump: Any) -> Any:
        return SimpleNamespace(run=asyncio.Event().wait)

    def _topic_watch(self) -> Any:
        return SimpleNamespace(run=asyncio.Event().wait)

    def _reactor(self, pump: Any, identity: Any, publisher: Any) -> Any:
        if not self._process.world.reacts:
            return SimpleNamespace(run=asyncio.Event().wait)
        from tests.simulation.reacting import reactor_of

        return reactor_of(self._process, self._devices, publisher, pump)


def _message(record: LogRecord, generation: int) -> Any:
    return SimpleNamespace(
        tp=TP(record.topic, record.partition),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp_ms / 1000,
        timestamp_type=LOG_APPEND_TIME,
        key=record.key,
        value=record.value or b"",
        headers=record.headers,
        generation_id=generation,
    )
