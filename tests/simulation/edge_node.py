"""An edge agent on the simulated rim: the real journal, views, executor, outbox and puller, driven as the agent's rim drives them.

What is simulated is only what the rim does: the group commit to the disk, the producer, the consumers, the clock. The process dies at any
write (before or after it), loses power (unsynced writes go), meets a full disk, is offline for hours, and sends again what it is
not sure of. Its user tries unanswered commands again under the same id, as a careful client does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from driftlog_crdt import AlgebraError
from driftlog_edge.asking.executor import Executor
from driftlog_edge.errors import DiskFull, EdgeError
from driftlog_edge.incoming.groups import GroupAssembler
from driftlog_edge.incoming.puller import Pulled, Puller
from driftlog_edge.incoming.verdicts import Answered
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Family, Record, Sealed, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry
from driftlog_edge.store.journal import Journal, merged
from driftlog_edge.store.lives import Lives, ensure_life
from driftlog_edge.store.views import Views
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import META, codecs_of
from driftlog_schemas.topics import conflicts_topic, receipts_topic, state_topic
from tests.simulation.app import CONTRACT, PARTITIONS, SPACE
from tests.simulation.clock import DeviceClock
from tests.simulation.disk import Disk, OutOfSpace, Put
from tests.simulation.group import OPS
from tests.simulation.history import Answer, Cut, EdgeEnd, Intent, Known
from tests.simulation.life import Life
from tests.simulation.log import LogRecord
from tests.simulation.network import Producer
from tests.simulation.scheduler import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

STATE, RECEIPTS, CONFLICTS = state_topic(SPACE.name), receipts_topic(SPACE.name), conflicts_topic(SPACE.name)
PULLED = (STATE, RECEIPTS, CONFLICTS)
DELIVERY_MS = 120_000
TICK_MS = 15_000
IN_FLIGHT = 3
SKUS = ("a", "b")
LIFE_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class DiskStore:
    """`ports.Store` on a simulated disk. Opening it makes durable what is there, as RocksDB's recovery does."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        disk.sync()

    def get(self, family: Family, key: bytes) -> bytes | None:
        return self._disk.family(family.value).get(key)

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._disk.family(family.value).scan(max(prefix, after)):
            if not key.startswith(prefix):
                return
            if key > after:
                yield key, value

    def write(self, writes: Writes, *, sync: bool) -> None:
        try:
            self._disk.write([Put(family.value, key, value) for (family, key), value in writes.items()], sync=sync)
        except OutOfSpace as error:
            raise DiskFull("the simulated disk is full") from error

    def close(self) -> None:
        pass


class Wall:
    """`ports.Clock` of a device."""

    def __init__(self, world: World, clock: DeviceClock) -> None:
        self._world = world
        self._clock = clock

    def wall_ms(self) -> int:
        return self._clock.now_ms()

    def monotonic(self) -> float:
        return (self._world.scheduler.now - EPOCH_MS) / 1000

    def boot(self) -> str:
        return ""


class EdgeProcess:
    """One life of an agent."""

    def __init__(self, node: EdgeNode) -> None:
        self._node = node
        world = self._world = node.world
        self._scheduler = world.scheduler
        self.life = Life(world.scheduler, node.name)
        self.life.on_death = lambda: node.died("died at a write")
        self.life.on_failure = node.failed
        rough = (OPS,) if world.faults.rough_route else ()
        self._producer = Producer(world.network, world.log, self.life, node.name, timeout_ms=DELIVERY_MS, rough=rough)
        identity = world.identities[node.name]
        self._store = DiskStore(node.disk)
        ensure_life(self._store, node.name, node.clock.now_ms(), node.draw_life)
        self._journal: Journal = world.variant.journal(self._store)
        self._lives = Lives(self._journal, node.draw_life)
        self._records, self._batches = RecordCodecs(world.ids), BatchCodec(world.ids)
        codecs = codecs_of(dict(SPACE.collections), world.ids)
        self._codecs = codecs
        self._views = Views(CONTRACT, codecs, self._journal)
        self._outbox = Outbox(CONTRACT, identity, self._batches, self._journal, self._lives)
        self._wall = Wall(world, node.clock)
        self._executor = Executor(CONTRACT, self._lives, self._views, self._outbox, self._journal, self._wall)
        self._puller = Puller(
            CONTRACT,
            node.scopes,
            codecs,
            self._records,
            self._views,
            self._outbox,
            self._journal,
            lambda: self._executor.hlc,
            node.name,
        )
        self._journal.on_rollback(self._rewind)
        self._next: dict[tuple[str, int], int] = {}
        self._assemblers: dict[int, GroupAssembler] = {}
        self._consistent_from: dict[int, int] = {}
        self._fetching: set[tuple[str, int]] = set()
        self._committing = False
        self._shipping = False
        self._shipper = Shipper(self._outbox, IN_FLIGHT)
        self._rewind()

    def begin(self) -> None:
        """Send what has no receipt, and read on."""
        self._ship_soon()
        self._wake_all()
        self.life.after(TICK_MS, "tick", self._tick)

    def _wake_all(self) -> None:
        for partition in self._node.partitions:
            for topic in PULLED:
                self.wake(topic, partition)

    def _rewind(self) -> None:
        """Read from where the store is."""
        for partition in self._node.partitions:
            for topic in PULLED:
                cursor = self._journal.get(Family.META, keys.cursor_key(topic, partition))
                self._next[topic, partition] = keys.unpack_number(cursor)
            end = self._world.log.end(STATE, partition)
            self._assemblers[partition] = GroupAssembler(end)
            self._consistent_from[partition] = end

    # -- commands

    def ask(self, intent: Intent) -> None:
        """The user's call; the answer goes to the history when it is given."""
        world = self._world
        try:
            done = self._executor.run(intent.name, intent.arguments, intent.command_id)
        except Refused as refused:
            self._node.refused(intent, refused.code)
            return
        except (InvalidInput, AlgebraError, EdgeError) as error:
            self._node.refused(intent, type(error).__name__)
            return

        def told(error: Exception | None) -> None:
            if error is None:
                self._node.answered(intent, "pending")
                self._ship_soon()
            else:
                world.scheduler.note(f"{self._node.name} could not {intent.command_id}: {type(error).__name__}")

        # A repetition has nothing to write, but what it repeats may still wait for the disk: it is answered behind it.
        self._journal.stage(done.writes or {}, sync=True, done=told)
        self._commit_soon()

    def _commit_soon(self) -> None:
        if not self._committing:
            self._committing = True
            self.life.after(self._scheduler.between(0, 4), "commit", self._commit)

    def _commit(self) -> None:
        self._committing = False
        group = self._journal.take(self._scheduler.between(1, 16))
        if not group:
            return
        writes, sync = merged(group)
        try:
            self._store.write(writes, sync=sync)
        except DiskFull as error:
            self._journal.failed(error)
            self.life.after(self._scheduler.between(500, 5_000), "read again", self._wake_all)
            self.life.after(self._scheduler.between(500, 5_000), "ship again", self._ship_soon)
            return
        self._journal.written(group)
        if self._journal.waiting:
            self._commit_soon()

    # -- shipping

    def _ship_soon(self) -> None:
        if not self._shipping:
            self._shipping = True
            self.life.after(self._scheduler.between(0, 20), "ship", self._ship)

    def _ship(self) -> None:
        self._shipping = False
        found = self._shipper.next()
        if found is None:
            return
        batch, writes = found
        if not writes:
            self._produce(batch)
            self._ship_soon()
            return

        def told(error: Exception | None) -> None:
            if error is None:
                self._produce(batch)
            else:
                self._shipper.failed(batch)
            self._ship_soon()

        self._journal.stage(writes, sync=True, done=told)
        self._commit_soon()

    def _produce(self, sealed: Sealed) -> None:
        def told(record: LogRecord | None) -> None:
            if record is None:
                self._shipper.failed(sealed)
            else:
                self._shipper.delivered(sealed, self._wall.monotonic())
            self._ship_soon()

        self._producer.send(sealed.topic, sealed.partition, sealed.key, sealed.value, (), told)

    def _tick(self) -> None:
        self.life.after(TICK_MS, "tick", self._tick)
        if self._world.faults.rough_route and self._scheduler.chance(0.02):
            self._shipper.resume()  # a client that starts anew sends everything again that has no receipt
        self._shipper.tick(self._wall.monotonic())
        self._ship_soon()

    # -- pulling

    def wake(self, topic: str, partition: int) -> None:
        """There may be something to read."""
        if (topic, partition) not in self._fetching:
            self._fetching.add((topic, partition))
            wait = self._world.network.arrival(self._node.name) - self._scheduler.now
            self.life.after(wait, f"fetch {topic}[{partition}]", lambda: self._fetch(topic, partition))

    def _fetch(self, topic: str, partition: int) -> None:
        self._fetching.discard((topic, partition))
        log = self._world.log
        at = self._next[topic, partition]
        if topic == STATE and log.holes(topic, partition, at):
            self._consistent_from[partition] = log.end(topic, partition)
        records = [_as_read(r) for r in log.read(topic, partition, at, self._scheduler.between(1, 12))]
        if not records:
            return
        self._next[topic, partition] = records[-1].offset + 1
        if topic == STATE:
            self._take_states(partition, records)
        elif topic == RECEIPTS:
            self._stage(self._puller.receipts(topic, partition, records))
        else:
            self._stage(self._puller.conflicts(topic, partition, records))
        self.wake(topic, partition)

    def _take_states(self, partition: int, records: list[Record]) -> None:
        for record in records:
            ripe = self._assemblers[partition].add(record)
            if ripe:
                self._stage(self._puller.states(SPACE.name, STATE, partition, ripe), partition, ripe[-1].offset)

    def _stage(self, pulled: Pulled, partition: int = -1, offset: int = -1) -> None:
        vectors: dict[DocumentId, dict[str, int]] = {}

        def told(error: Exception | None) -> None:
            if error is not None:
                return  # `_rewind` has been called: it will be read again
            if vectors:
                self._node.showed(vectors, catching_up=offset < self._consistent_from[partition])
            now = self._wall.monotonic()
            for answer in pulled.answered:
                self._answered(answer, now)
            for space, at, _ in pulled.refused:
                self._shipper.refused(space, at, now)

        self._journal.stage(pulled.writes, sync=False, done=told)
        self._puller.staged(pulled)
        if partition >= 0:
            vectors.update((d, self._vector(d)) for d in pulled.changed)
        self._commit_soon()

    def _answered(self, answer: Answered, now: float) -> None:
        for place in answer.closed:
            self._shipper.answered(place)
        self._shipper.early(answer.early, now)
        if answer.deferred:
            self._shipper.deferred(answer.space, answer.partition, now)

    def _vector(self, document: DocumentId) -> dict[str, int]:
        state, _ = self._views.confirmed(SPACE.collections[document.collection], document_key(document))
        return dict(state.vector)

    # -- what the judge wants to know

    def vectors(self) -> dict[DocumentId, Mapping[str, int]]:
        """Of all confirmed documents."""
        found = (parse_document_key(key) for key, _ in self._store.scan(Family.CONFIRMED, b""))
        return {document: self._vector(document) for document in found}

    def commands(self) -> dict[str, Entry]:
        """The command log as it is on disk."""
        return {key.decode(): Entry.decode(value) for key, value in self._store.scan(Family.COMMANDS, b"")}

    def unrest(self) -> str:
        """Why this agent is not at rest; empty when it is."""
        if self._journal.waiting:
            return f"{self._journal.waiting} writes wait for the disk"
        if self._outbox.unsealed:
            return f"{self._outbox.unsealed} commands wait to be sealed"
        for batch in self._outbox.sealed.all():
            return f"batch {batch.number} of partition {batch.partition} has no receipt"
        if pending := len(list(self._store.scan(Family.PENDING, b""))):
            return f"{pending} pending"
        for (topic, partition), at in self._next.items():
            if at < self._world.log.end(topic, partition):
                return f"at {at} of {topic}[{partition}]"
        return ""

    def end(self) -> EdgeEnd:
        """How it stands."""
        confirmed = {}
        for key, value in self._store.scan(Family.CONFIRMED, b""):
            document = parse_document_key(key)
            confirmed[document] = str(self._codecs[document.collection].decode_row(value)[META]["merge"])
        status = {name: (entry.status.value, entry.code) for name, entry in self.commands().items()}
        pending = len(list(self._store.scan(Family.PENDING, b"")))
        return EdgeEnd(confirmed, status, pending, self._outbox.unsealed, {})

    def bury(self) -> None:
        """Nothing of this life happens any more, but for what is on the wire."""
        self.life.end()
        self._producer.abandon()


class EdgeNode:
    """A device: its disk, its clock, its user."""

    def __init__(self, world: World, name: str, scopes: tuple[str, ...]) -> None:
        self.world = world
        self.name = name
        self.scopes = scopes
        self.partitions = sorted({partition_of(scope, PARTITIONS) for scope in scopes})
        self.disk = Disk(world.scheduler, name)
        self.clock = DeviceClock.drawn(world.scheduler) if world.faults.clocks else DeviceClock(world.scheduler)
        self.process: EdgeProcess | None = None
        self._asked = 0
        self._again: list[Intent] = []
        """unanswered, to be tried again"""
        self._retired = False
        self.draw_life: Callable[[], str] = lambda: "".join(world.scheduler.random.choices(LIFE_LETTERS, k=8))
        world.scheduler.after(world.scheduler.between(1, 5_000), f"{name} user", self._use)

    def start(self) -> None:
        """The agent starts from its disk."""
        if self.process is not None:
            return
        process = self.process = EdgeProcess(self)
        world = self.world
        world.scheduler.note(f"{self.name} starts")
        now = world.scheduler.now
        world.history.known.append(Known(now, self.name, frozenset(process.commands())))
        world.history.cuts.append(Cut(now, self.name, False, process.vectors(), restart=True))
        process.begin()

    def wake(self, topic: str, partition: int) -> None:
        """A topic has grown."""
        if self.process is not None and topic in PULLED and partition in self.partitions:
            self.process.wake(topic, partition)

    # -- the user

    def _use(self) -> None:
        scheduler = self.world.scheduler
        if self._retired:
            return
        scheduler.after(scheduler.between(1, max(2, self.world.length_ms // 16)), f"{self.name} user", self._use)
        for _ in range(scheduler.between(1, 3)):
            intent = self._again.pop(0) if self._again and scheduler.chance(0.7) else self._intent()
            if self.process is None:
                continue
            self._again.append(intent)
            process = self.process
            process.life.after(0, f"{intent.name} {intent.command_id}", lambda p=process, i=intent: p.ask(i))

    def _intent(self) -> Intent:
        chance = self.world.scheduler.random
        self._asked += 1
        name = chance.choice(list(SPACE.commands))
        arguments: dict[str, Any] = {"store": chance.choice(self.scopes), "sku": chance.choice(SKUS)}
        match name:
            case "receive" | "sell":
                arguments["qty"] = chance.randint(1, 5)
            case "transfer":
                del arguments["sku"]
                arguments.update(source="a", target="b", qty=chance.randint(1, 4))
            case "reprice":
                arguments["price"] = chance.randint(1, 3)
            case "rename":
                arguments["name"] = chance.choice(("tea", "coffee", "mate"))
            case "note":
                arguments["text"] = chance.choice(("call", "order"))
            case "tag" | "untag" | "pin":
                arguments["word"] = chance.choice(("new", "last"))
            case "post":
                arguments["remark"] = chance.choice(("quiet", "busy"))
        intent = Intent(self.name, f"{self.name}:{self._asked}", name, arguments)
        self.world.history.intents[intent.command_id] = intent
        return intent

    def answered(self, intent: Intent, result: str) -> None:
        """The agent said: done."""
        self.world.scheduler.note(f"{self.name} answers {intent.command_id}")
        self.world.history.answers.append(Answer(self.world.scheduler.now, self.name, intent.command_id, result))
        if intent in self._again:
            self._again.remove(intent)

    def refused(self, intent: Intent, code: str) -> None:
        """The agent said no."""
        self.world.history.refusals.append((self.world.scheduler.now, self.name, intent.command_id, code))
        if intent in self._again:
            self._again.remove(intent)

    def showed(self, vectors: Mapping[DocumentId, Mapping[str, int]], *, catching_up: bool) -> None:
        """Readers see something new."""
        self.world.history.cuts.append(Cut(self.world.scheduler.now, self.name, catching_up, vectors))

    # -- faults

    def died(self, why: str, *, power_cut: bool = False) -> None:
        """The process is gone; somebody starts it again."""
        process = self.process
        if process is None:
            return
        scheduler = self.world.scheduler
        scheduler.note(f"{self.name}: {why}")
        self.process = None
        process.bury()
        if power_cut:
            self.disk.after_power_cut()
        else:
            self.disk.after_kill()
        scheduler.after(scheduler.between(100, 60_000), f"{self.name} restart", self.start)

    def failed(self, error: Exception) -> None:
        """The process ended by itself, which nobody planned."""
        self.world.history.crashes.append(f"{self.name} at {self.world.scheduler.now}: {type(error).__name__}: {error}")
        self.died("failed")

    def crash_soon(self) -> None:
        """SIGKILL at one of the next writes, or now."""
        if self.process is None:
            return
        if self.world.scheduler.chance(0.7):
            self.disk.die_within(6)
        else:
            self.died("killed")

    def power_cut(self) -> None:
        """Everything that was not synced may go."""
        self.died("power cut", power_cut=True)

    def disk_full(self, duration_ms: int) -> None:
        """No write succeeds for a while."""
        self.world.scheduler.note(f"{self.name}: disk full for {duration_ms} ms")
        self.disk.full = True

        def space_again() -> None:
            self.disk.full = False

        self.world.scheduler.after(duration_ms, f"{self.name} disk has space", space_again)

    def heal(self) -> None:
        """The user goes home; the agent stays up."""
        self._retired = True
        self.disk.full = False
        self.disk.after_kill()
        self.start()

    def unrest(self) -> str:
        """Why this device is not at rest; empty when it is."""
        return "down" if self.process is None else self.process.unrest()

    def end(self) -> EdgeEnd:
        """How it stands at the end."""
        return EdgeEnd({}, {}, 0, 0, {}) if self.process is None else self.process.end()


def _as_read(record: LogRecord) -> Record:
    return Record(record.offset, record.key or b"", record.value, record.headers, record.timestamp_ms)
