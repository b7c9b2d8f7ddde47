"""An edge agent in a world: production's `EdgeAgent`, whole, on a simulated loop, disk, route and clock.

The process dies at any write (before or after it), loses power (unsynced writes go), meets a full disk, is offline for hours, and its
client starts anew. Its user tries unanswered commands again under the same id, as a careful client does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftlog_crdt import AlgebraError
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import DiskFull, EdgeError
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry
from driftlog_edge.store.generations import serving
from driftlog_edge.store.lives import Chain
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import META, codecs_of
from driftlog_schemas.topics import DEVICES, conflicts_topic, receipts_topic, state_topic
from tests.simulation import all_types
from tests.simulation.app import CONTRACT, PARTITIONS, SHARED, SPACE, device_of_node
from tests.simulation.clock import DeviceClock
from tests.simulation.disk import Disk
from tests.simulation.disk_store import DiskStore
from tests.simulation.history import Answer, Cut, EdgeEnd, Intent, Known, Restored
from tests.simulation.life import Life
from tests.simulation.loop import SimulatedLoop
from tests.simulation.route import SimulatedRoute
from tests.simulation.scheduler import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

STATE, RECEIPTS, CONFLICTS = state_topic(SPACE.name), receipts_topic(SPACE.name), conflicts_topic(SPACE.name)
PULLED = (STATE, RECEIPTS, CONFLICTS)
IN_FLIGHT = 3
SKUS = ("a", "b")


class Wall:
    """`ports.Clock` of a device."""

    def __init__(self, node: EdgeNode) -> None:
        self._node = node

    def wall_ms(self) -> int:
        return self._node.clock.now_ms()

    def monotonic(self) -> float:
        return (self._node.world.scheduler.now - EPOCH_MS) / 1000

    def boot(self) -> str:
        return f"boot-{self._node.boots}"


class Agent(EdgeAgent):
    """Production's agent, and somebody who looks at what its readers can see."""

    def __init__(self, *args: Any, saw: Callable[[Pulled], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._saw = saw

    def _pulled(self, pulled: Pulled) -> None:
        super()._pulled(pulled)
        self._saw(pulled)


class EdgeProcess:
    """One life of an agent."""

    def __init__(self, node: EdgeNode) -> None:
        self._node = node
        world = self._world = node.world
        self.life = Life(world.scheduler, node.name)
        self.life.on_death = lambda: node.died("died at a write")
        self.life.on_failure = node.failed
        self._loop = SimulatedLoop(world.scheduler, self.life, world.threads, waits=lambda call: False)
        world.loops.append(self._loop)
        self.route = SimulatedRoute(world, self.life, node.name, self._reads_from)
        self._store = DiskStore(node.disk)
        self._codecs = codecs_of(dict(SPACE.collections), world.ids)
        config = EdgeConfig(
            data_dir=Path(node.name),
            identity=Path(device_of_node(node.name)),
            scopes=list(node.scopes),
            batches_in_flight=IN_FLIGHT,
        )
        self._agent = Agent(CONTRACT, config, route=self.route, ids=world.ids, clock=Wall(node), saw=self._saw)
        self._consistent_from: dict[int, int] = {}
        self._serving = {p: serving(self._store, SPACE.name, p) for p in node.partitions}
        """Which generation of a partition's rows readers are shown."""
        self.started = False
        self._waiting: list[Intent] = []

    def begin(self) -> None:
        """Open the store, send what has no receipt, and read on."""
        self._loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._agent.__aenter__()
        except DiskFull:
            self._node.died("could not start on a full disk")
            return
        self.started = True
        for intent in self._waiting:
            self.ask(intent)
        if self._world.faults.rough_route:
            self._loop.create_task(self._start_anew())

    async def _start_anew(self) -> None:
        """A client that starts anew sends everything again that has no receipt. Who died while offline is offline when it is back."""
        while True:
            with suppress(DiskFull):
                await self._agent.online()
                if self._world.network.healed:
                    return
            await asyncio.sleep(self._world.scheduler.between(10, 900))
            with suppress(DiskFull):
                await self._agent.offline()

    def _reads_from(self, topic: str, partition: int, end: int) -> None:
        if topic == STATE:
            self._consistent_from[partition] = end

    def wake(self) -> None:
        """A topic has grown."""
        if self.route.feed is not None:
            self.route.feed.wake()

    # -- commands

    def ask(self, intent: Intent) -> None:
        """The user's call; the answer goes to the history when it is given."""
        if self.started:
            self._loop.create_task(self._ask(intent))
        else:
            self._waiting.append(intent)

    async def _ask(self, intent: Intent) -> None:
        node = self._node
        try:
            await self._agent.run_with(intent.name, intent.arguments, command_id=intent.command_id)
        except Refused as refused:
            node.refused(intent, refused.code)
        except DiskFull:
            node.world.scheduler.note(f"{node.name} could not {intent.command_id}: the disk is full")
            node.world.history.situation("a command met a full disk")
        except (InvalidInput, AlgebraError, EdgeError) as error:
            node.refused(intent, type(error).__name__)
        else:
            node.answered(intent, self.replica)

    @property
    def replica(self) -> str:
        """The name of the folder's life."""
        return self._agent._vitals._lives.replica

    # -- what readers see

    def _saw(self, pulled: Pulled) -> None:
        if not pulled.changed:
            return
        partition = partition_of(pulled.changed[0].scope, PARTITIONS)
        generation = serving(self._store, SPACE.name, partition)
        if generation != self._serving.get(partition, generation):  # what was read beside it is shown, all at once
            self._node.world.history.cuts.append(
                Cut(self._node.world.scheduler.now, self._node.name, False, self.vectors(), restart=True)
            )
        self._serving[partition] = generation
        at = self._agent._sync.places.position(STATE, partition) - 1
        vectors = {document: self._vector(document) for document in pulled.changed}
        self._node.showed(vectors, catching_up=at < self._consistent_from[partition])

    def _vector(self, document: DocumentId) -> dict[str, int]:
        state, _ = self._agent._views.confirmed(SPACE.collections[document.collection], document_key(document))
        return dict(state.vector)

    # -- what the judge wants to know

    def vectors(self) -> dict[DocumentId, Mapping[str, int]]:
        """Of all confirmed documents, as they are on disk."""
        found = {}
        for partition in self._node.partitions:
            shown = keys.confirmed_prefix(SPACE.name, partition, serving(self._store, SPACE.name, partition))
            for key, value in self._store.scan(Family.CONFIRMED, shown):
                document = parse_document_key(keys.document_of_confirmed(key))
                found[document] = dict(self._codecs[document.collection].decode(value).vector)
        return found

    def commands(self) -> dict[str, Entry]:
        """The command log as it is on disk."""
        return {key.decode(): Entry.decode(value) for key, value in self._store.scan(Family.COMMANDS, b"")}

    def _count(self, family: Family) -> int:
        return len(list(self._store.scan(family, b"")))

    def unrest(self) -> str:
        """Why this agent is not at rest; empty when it is."""
        if not self.started:
            return "starting"
        if waiting := self._agent._committer._journal.waiting:
            return f"{waiting} writes wait for the disk"
        if waiting := self._agent._submission._outbox.unsealed:
            return f"{waiting} commands wait to be sealed"
        for batch in self._agent._submission._outbox.sealed.all():
            return f"batch {batch.number} of partition {batch.partition} has no receipt"
        if pending := self._count(Family.PENDING):
            return f"{pending} pending"
        for partition in self._node.partitions:
            for topic in PULLED:
                if (at := self._agent._sync.places.position(topic, partition)) < self._world.log.end(topic, partition):
                    return f"at {at} of {topic}[{partition}]"
        return ""

    def end(self) -> EdgeEnd:
        """How it stands."""
        confirmed = {}
        for key, value in self._store.scan(Family.CONFIRMED, b""):
            document = parse_document_key(keys.document_of_confirmed(key))
            confirmed[document] = self._codecs[document.collection].decode_row(value)[META]["merge"]
        status = {name: (entry.status.value, entry.code) for name, entry in self.commands().items()}
        return EdgeEnd(confirmed, status, self._count(Family.PENDING), self._count(Family.OUTBOX), {})

    def bury(self) -> None:
        """Nothing of this life happens any more, but for what is on the wire."""
        self.life.end()
        self.route.abandon()


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
        self.boots = 1
        """How often the device was switched on."""
        self._asked = 0
        self._place = world.favourites[0]
        """Where its user works: for a while at one place."""
        self._again: list[Intent] = []
        """unanswered, to be tried again"""
        self._retired = False
        self._backup: tuple[int, Any] | None = None
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
        if self.process is not None and (topic == DEVICES or (topic in PULLED and partition in self.partitions)):
            self.process.wake()

    # -- the user

    def _use(self) -> None:
        scheduler = self.world.scheduler
        if self._retired:
            return
        scheduler.after(scheduler.between(1, max(2, self.world.length_ms // 16)), f"{self.name} user", self._use)
        for _ in range(scheduler.between(1, 4)):
            intent = self._again.pop(0) if self._again and scheduler.chance(0.7) else self._intent()
            if self.process is None:
                continue
            self._again.append(intent)
            process = self.process
            process.life.after(0, f"{intent.name} {intent.command_id}", lambda p=process, i=intent: p.ask(i))

    def _intent(self) -> Intent:
        chance = self.world.scheduler.random
        self._asked += 1
        name = (
            chance.choice(("work",) * 14 + ("lock",)) if chance.random() < 0.5 else chance.choice(list(SPACE.commands))
        )
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
            case "work":
                word = all_types.word(len(self.world.history.intents))
                if chance.random() < 0.8:
                    arguments["store"] = SHARED
                arguments["sku"] = "a"
                if chance.random() < 0.7:
                    self._place = chance.choice(self.world.favourites if chance.random() < 0.8 else all_types.PLACES)
                arguments.update(all_types.drawn(chance, self._place, word, self.world.words, self._lives()))
                if word in arguments["args"]:
                    self.world.words = [*self.world.words[-4:], word]
            case "lock" | "scrap":
                kind = chance.choice(self.world.favourites)[0]
                arguments.update(store=chance.choice((SHARED, arguments["store"])), sku="a", kind=kind)
            case "move":
                arguments.update(sku="a", place=chance.choice(("street", "city")), name=chance.choice(("x", "y")))
            case "post":
                arguments["remark"] = chance.choice(("quiet", "busy"))
        intent = Intent(self.name, f"{self.name}:{self._asked}", name, arguments)
        self.world.history.intents[intent.command_id] = intent
        return intent

    def _lives(self) -> list[str]:
        """The lives of all agents that run."""
        nodes = self.world.edges.values()
        return [node.process.replica for node in nodes if node.process is not None and node.process.started]

    def answered(self, intent: Intent, replica: str) -> None:
        """The agent said: done."""
        self.world.scheduler.note(f"{self.name} answers {intent.command_id}")
        self.world.history.answers.append(Answer(self.world.scheduler.now, self.name, intent.command_id, replica))
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
            self.boots += 1
            self.world.history.situation("a power cut")
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

    def backup(self) -> None:
        """Somebody copies the disk."""
        self._backup = (self.world.scheduler.now, self.disk.backup())

    def restore(self) -> None:
        """Somebody puts the older copy back; the user does not ask again what that disk has never heard of."""
        if self._backup is None or self.process is None:
            return
        taken_ms, copy = self._backup
        self.died("set back to an older copy")
        self.disk.restore(copy)
        self._again.clear()
        self.world.history.restored.append(Restored(self.name, taken_ms, self.world.scheduler.now))
        self.world.history.situation("a disk was set back")

    def cloned(self, *, empty: bool, start_ms: int) -> EdgeNode:
        """Somebody copies the folder (or gives away the identity file alone), and a second agent of the device runs beside this one."""
        world = self.world
        copies = sum(device_of_node(name) == device_of_node(self.name) for name in world.edges)
        twin = EdgeNode(world, f"{device_of_node(self.name)}+{copies}", self.scopes)
        world.edges[twin.name] = twin
        if not empty:
            self.disk.sync()
            twin.disk.restore(self.disk.backup())
        world.scheduler.after(start_ms, f"{twin.name} start", twin.start)
        world.history.situation("an identity was used twice" if empty else "a folder was copied and both ran")
        return twin

    def flip(self) -> None:
        """One bit of what a chain's next batch will name as the one before it."""
        family = self.disk.family(Family.META.value)
        chains = [
            (key, value) for key, value in family.scan(keys.CHAINS, keys.CHAINS + b"\xff") if Chain.decode(value).head
        ]
        if not chains or self.process is None:
            return
        self.died("a bit flips")
        key, value = self.world.scheduler.random.choice(chains)
        chain = Chain.decode(value)
        flipped = replace(chain, head=bytes((chain.head[0] ^ 1, *chain.head[1:])))
        self.disk.sync()
        damaged = self.disk.backup()
        damaged[Family.META.value].put(key, flipped.encode())
        self.disk.restore(damaged)
        self.world.history.situation("a bit flipped in a stored prev")

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
