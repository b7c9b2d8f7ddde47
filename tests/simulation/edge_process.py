"""One life of an edge agent in a world: production's `EdgeAgent`, whole, on a simulated loop, disk, route and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftlog_crdt import AlgebraError
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.again import Reviewed
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import DiskFull, EdgeError, NotReady, TimedOut
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.link.sync import Sync
from driftlog_edge.ports import Family
from driftlog_edge.power.reading import Power
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry
from driftlog_edge.store.evicted import Marker
from driftlog_edge.store.generations import serving
from driftlog_edge.store.moves import destined, present
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import META, codecs_of
from driftlog_schemas.topics import DEVICES, conflicts_topic, receipts_topic, state_topic
from tests.simulation.app import SPACE, device_of_node
from tests.simulation.disk_store import DiskStore
from tests.simulation.history import Cut, Decided, EdgeEnd, Intent, Promise, Read
from tests.simulation.life import Life, ProcessDied
from tests.simulation.loop import SimulatedLoop
from tests.simulation.route import SimulatedRoute
from tests.simulation.scheduler import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.edge_node import EdgeNode

PULLED = (state_topic, receipts_topic, conflicts_topic)
IN_FLIGHT = 3
CARRIED_AT_START = "a folder was carried as its agent started"
CARRIED_OPEN = "a folder was carried as it was opened anew"


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
    """Production's agent, and somebody who looks at what its readers can see when something has come in."""

    def __init__(self, *args: Any, saw: Callable[[Pulled], None], opened: Callable[[], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._saw = saw
        self._told_opened = opened

    async def _open(self) -> None:
        await super()._open()
        self._told_opened()

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, Sync):
            self._look_on(value)
        super().__setattr__(name, value)

    def _look_on(self, sync: Sync) -> None:
        heard = sync.pulled

        def pulled(what: Pulled) -> None:
            heard(what)
            self._saw(what)

        sync.pulled = pulled  # type: ignore[method-assign]  # clients take it from there at each connection


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
        self._collections = world.contract.spaces[SPACE.name].collections
        self._codecs = codecs_of(dict(self._collections), world.ids)
        config = EdgeConfig(
            data_dir=Path(node.name),
            identity=Path(device_of_node(node.name)),
            scopes=list(node.scopes),
            batches_in_flight=IN_FLIGHT,
            disk_budget=node.budget,
            sync=dict(world.rhythms),
        )
        self._agent = Agent(
            world.contract,
            config,
            route=self.route,
            ids=world.ids,
            clock=Wall(node),
            saw=self._saw,
            opened=self._opened,
        )
        self._replica = ""
        self._consistent_from: dict[tuple[str, int], int] = {}
        self._take_place()
        self.started = False
        self._waiting: list[Intent] = []

    def _take_place(self) -> None:
        """Know where the folder has its rows."""
        (self.space,) = present(self._store, self._world.contract).spaces.values()
        self.partitions = sorted({self._partition_of(scope) for scope in self._node.scopes})
        self._pulled = [kind(self.space.name) for kind in PULLED]
        self._serving = {p: serving(self._store, self.space.name, p) for p in self.partitions}
        """Which generation of a partition's rows readers are shown."""

    def _partition_of(self, scope: str) -> int:
        return partition_of(scope, self.space.partitions)

    @property
    def half_carried(self) -> bool:
        """Is the folder on its way to where its space goes on? Then nobody reads it before it is open."""
        return destined(self._store, self._world.contract) != present(self._store, self._world.contract)

    def _opened(self) -> None:
        """The folder is open, and may have been carried to where its space goes on."""
        before = self.space.name
        self._take_place()
        if self.space.name != before:
            self._world.history.situation(CARRIED_OPEN if self.started else CARRIED_AT_START)
        if not self.started:
            self._node.opened(self)

    def begin(self) -> None:
        """Open the store, send what has no receipt, and read on."""
        self._loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._agent.__aenter__()
        except DiskFull:
            self._node.died("could not start on a full disk")
            return
        except ProcessDied:  # else the task would keep it to itself
            self.life.on_death()
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, it ended the process: the judge is told
            self._node.failed(error)
            return
        self.started = True
        if self._node.budget != self._agent.config.disk_budget:  # it changed while this one was starting
            self.squeeze()
        for intent in self._waiting:
            self.ask(intent)
        if self._world.faults.rough_route:
            self._loop.create_task(self._start_anew())

    async def _start_anew(self) -> None:
        """A client that starts anew sends everything again that has no receipt. Who died while offline is offline when it is back."""
        while True:
            with suppress(DiskFull, NotReady, TimedOut):
                await self._agent.online()
                if self._world.network.healed:
                    return
            await asyncio.sleep(self._world.scheduler.between(10, 900))
            with suppress(DiskFull, NotReady, TimedOut):
                await self._agent.offline()

    def _reads_from(self, topic: str, partition: int, end: int) -> None:
        self._consistent_from[topic, partition] = end

    def feed(self, power: Power) -> list[str]:
        """Tell the agent how it is fed. For what its commands have waited so far."""
        if not self.started:
            return []
        waited = [str(one["for"]) for one in self._agent.status()["waiting"]]
        self._agent.set_power(power)
        return waited

    def squeeze(self) -> None:
        """Go by the disk's budget as it is now."""
        if self.started:
            self._loop.call_soon(self._agent.change_settings, {"disk_budget": self._node.budget})

    def wake(self, topic: str, partition: int) -> None:
        """A topic has grown."""
        wanted = topic == DEVICES or (topic in self._pulled and partition in self.partitions)
        if wanted and self.route.feed is not None:
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

    # -- what waits for a person

    def review(self) -> list[Reviewed]:
        """What is on the list."""
        return self._agent.review() if self.started else []

    def decide(self, command_id: str, *, apply: bool) -> None:
        """A person applies one of them, or drops it; what comes of it goes to the history."""
        self._loop.create_task(self._decide(command_id, apply))

    async def _decide(self, command_id: str, apply: bool) -> None:
        decided, node = self._agent.review_apply if apply else self._agent.review_drop, self._node
        try:
            await decided(command_id)
        except (DiskFull, Refused, InvalidInput, AlgebraError, EdgeError) as error:  # it stays where it is
            node.world.scheduler.note(f"{node.name} could not decide {command_id}: {error}")
        else:
            decision = Decided(node.world.scheduler.now, node.name, command_id, apply)
            node.world.history.decided.append(decision)

    # -- reads

    def read(self, document: DocumentId, promise: Promise) -> None:
        """Somebody wants to see a document; what is told goes to the history."""
        if self.started:
            self._loop.create_task(self._read(document, promise))

    async def _read(self, document: DocumentId, promise: Promise) -> None:
        node, asked_ms = self._node, self._world.scheduler.now
        code, vector, merged = "", None, None
        try:
            reading = await self._agent.read(
                document.collection,
                document.scope,
                document.id,
                consistency="strong" if promise.strong else "eventual",
                max_age=promise.max_age,
            )
        except EdgeError as error:
            code = error.code
        else:
            vector = reading.version
            if not reading.pending:
                rules = SPACE.collections[document.collection].document
                merged = rules.encode(reading.document.state)
        node.told(Read(asked_ms, self._world.scheduler.now, node.name, document, promise, code, vector, merged))

    def evicted(self) -> dict[DocumentId, Marker]:
        """What stands in the place of rows that made room, of those that readers are shown."""
        found = {}
        name = self.space.name
        for partition in self.partitions:
            shown = keys.confirmed_prefix(name, partition, serving(self._store, name, partition))
            for key, value in self._store.scan(Family.META, keys.evicted_key(shown)):
                row = key[len(keys.EVICTED) :]
                found[parse_document_key(keys.document_of_confirmed(row))] = Marker.decode(value)
        return found

    @property
    def replica(self) -> str:
        """The name of the folder's life, as it was when the folder was open last."""
        if not self._agent._anew.away:
            self._replica = self._agent._vitals._lives.replica
        return self._replica

    # -- what readers see

    def _saw(self, pulled: Pulled) -> None:
        if not pulled.changed:
            return
        partition = self._partition_of(pulled.changed[0].scope)
        generation = serving(self._store, self.space.name, partition)
        if generation != self._serving.get(partition, generation):  # what was read beside it is shown, all at once
            self._node.world.history.cuts.append(
                Cut(self._node.world.scheduler.now, self._node.name, False, self.vectors(), restart=True)
            )
        self._serving[partition] = generation
        state = state_topic(self.space.name), partition
        at = self._agent._sync.places.position(*state) - 1
        vectors = {document: self._vector(document) for document in pulled.changed if not self._let_go(document)}
        self._node.showed(vectors, catching_up=at < self._consistent_from[state])

    def _vector(self, document: DocumentId) -> dict[str, int]:
        return dict(self._agent._views.confirmed_vector(document) or {})

    def _let_go(self, document: DocumentId) -> bool:
        """Is it of what only goes up, and not here: so readers are shown nothing of it?"""
        views = self._agent._views
        up = self._collections[document.collection].direction == "up"
        return up and self._store.get(Family.CONFIRMED, views.generations.key(self._store, document)) is None

    # -- what the judge wants to know

    def vectors(self) -> dict[DocumentId, Mapping[str, int]]:
        """Of all confirmed documents, as they are on disk, and of those that made room."""
        found: dict[DocumentId, Mapping[str, int]] = {
            document: dict(marker.vector) for document, marker in self.evicted().items()
        }
        name = self.space.name
        for partition in self.partitions:
            shown = keys.confirmed_prefix(name, partition, serving(self._store, name, partition))
            for key, value in self._store.scan(Family.CONFIRMED, shown):
                document = parse_document_key(keys.document_of_confirmed(key))
                found[document] = dict(self._codecs[document.collection].decode(value).vector)
        return found

    def overdue(self, before_ms: int) -> list[DocumentId]:
        """What only goes up and should have gone before that time, by the cloud's clock; nothing where this life has not heard of that time."""
        letting_go = self._agent._housekeeping._letting_go
        if letting_go._going_up.now_ms() < before_ms:
            return []
        due = [key for key, _ in self._store.scan(Family.META, keys.DUE) if keys.due_of(key) < before_ms]
        return [parse_document_key(keys.document_of_due(key)) for key in due]

    def commands(self) -> dict[str, Entry]:
        """The command log as it is on disk."""
        return {key.decode(): Entry.decode(value) for key, value in self._store.scan(Family.COMMANDS, b"")}

    def _count(self, family: Family) -> int:
        return len(list(self._store.scan(family, b"")))

    def unrest(self) -> str:
        """Why this agent is not at rest; empty when it is."""
        if not self.started:
            return "starting"
        if self._agent._anew.away:
            return "its folder is opened anew"
        if self.space.name != self._world.present.name:
            return f"{self._world.present.name} is not followed"
        if waiting := self._agent._committer._journal.waiting:
            return f"{waiting} writes wait for the disk"
        if waiting := len(self._agent._submission._outbox.queue):
            return f"{waiting} commands wait to be sealed"
        for batch in self._agent._submission._outbox.sealed.all():
            return f"batch {batch.number} of partition {batch.partition} has no receipt"
        if pending := self._count(Family.PENDING):
            return f"{pending} pending"
        for partition in self.partitions:
            for topic in self._pulled:
                if (at := self._agent._sync.places.position(topic, partition)) < self._world.log.end(topic, partition):
                    return f"at {at} of {topic}[{partition}]"
        return ""

    def end(self) -> EdgeEnd:
        """How it stands."""
        if not self.started or self._agent._anew.away:
            return EdgeEnd({}, {}, 0, 0, {})
        confirmed = {}
        for key, value in self._store.scan(Family.CONFIRMED, b""):
            document = parse_document_key(keys.document_of_confirmed(key))
            confirmed[document] = self._codecs[document.collection].decode_row(value)[META]["merge"]
        status = {name: (entry.status.value, entry.code) for name, entry in self.commands().items()}
        agreement = self._agent._sync.proof.agreement
        known = {scope: agreement.of(self.space.name, self._partition_of(scope), scope) for scope in self._node.scopes}
        if any(digest.told is not None for digest in known.values()):
            self._world.history.situation("an edge could compare a scope at the end")
        differing = tuple(scope for scope, digest in known.items() if digest.differs)
        pending, outbox = self._count(Family.PENDING), self._count(Family.OUTBOX)
        return EdgeEnd(confirmed, status, pending, outbox, {}, differing, agreement.mismatches)

    def bury(self) -> None:
        """Nothing of this life happens any more, but for what is on the wire."""
        self.life.end()
        self.route.abandon()
