"""One simulated world: a log, a network, two merge workers, three edges, their users, and the faults that a seed draws for them.

A run has three ages. In the first, users work and everything goes wrong that this seed has drawn (each seed draws a random subset of the
kinds of fault: runs with few kinds go deeper than runs with all). In the second the network is healed, crashed nodes are up, and
everything must come to rest within bounded time. Then the history is closed and handed to the judge.

Sources: Zhou et al. 2021, "FoundationDB", section 4 (deterministic simulation); Groce et al. 2012, "Swarm testing".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import PUBLISH, Device, DeviceKey, enrolled
from driftlog_schemas.moves import Moved, present
from driftlog_schemas.operator_keys import RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import (
    DEVICES,
    conflicts_topic,
    devices_topic,
    heartbeats_topic,
    ops_topic,
    parked_topic,
    receipts_topic,
    space_topics,
    state_topic,
)
from driftlog_streams.core.rules import SpaceRules
from tests.simulation import all_types
from tests.simulation.app import COLLAPSED, CONTRACT, EDGES, FORBIDDEN, SPACE
from tests.simulation.group import Group
from tests.simulation.history import History
from tests.simulation.log import LogRecord, SimulatedLog
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.operator import Operator, root_of
from tests.simulation.scheduler import EPOCH_MS, Scheduler
from tests.simulation.thread import Threads
from tests.simulation.variant import HONEST, Variant

if TYPE_CHECKING:
    from driftlog_streams.registry.device_view import DeviceView
    from tests.simulation.worker_node import WorkerNode

MINUTE_MS = 60_000
REST_MS = 40 * MINUTE_MS
"""So long may it take to come to rest after the network healed."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong in this world; how often is drawn where it is planned."""

    cuts: bool
    edge_crashes: bool
    edge_power_cuts: bool
    worker_crashes: bool
    rebalances: bool
    freezes: bool
    disk_full: bool
    clocks: bool
    rough_route: bool
    compaction: bool
    forgeries: bool
    restores: bool
    flips: bool
    clones: bool
    registry: bool
    stalls: bool

    @classmethod
    def drawn(cls, scheduler: Scheduler) -> Faults:
        return cls(**{f.name: scheduler.chance(0.6) for f in fields(cls)})

    def __str__(self) -> str:
        return ", ".join(f.name for f in fields(self) if getattr(self, f.name)) or "none"


class World:
    """Everything there is in one run."""

    settles = False
    """Do deadlines end conflicts (see `settling`)?"""
    closes = False
    """Are logs closed, because the space goes on elsewhere (see `moving`)?"""
    reacts = False
    """Does something react (see `reacting`)?"""
    errands: Sequence[str] = ()
    """Commands that users want half of the time."""
    bars = 0
    """How often each device loses every right, besides what is drawn of that: nothing of what it sends then is seen."""
    diligence = 16
    """In how many parts of its length a user comes once at the latest."""

    publishers: Sequence[str] = ()
    """Devices that may write what only comes down (see `one_way`)."""
    rhythms: Mapping[str, str] = MappingProxyType({})
    """Collections whose commands wait on a device (see `waiting`)."""

    def __init__(self, seed: int, variant: Variant = HONEST, listen: Callable[[int, str], None] | None = None) -> None:
        from tests.simulation.edge_node import EdgeNode
        from tests.simulation.worker_node import WorkerNode

        self.variant = variant
        self.scheduler = Scheduler(seed)
        self.scheduler.listen = listen
        self.history = History(seed)
        self.faults = Faults.drawn(self.scheduler)
        self.scheduler.note(f"faults: {self.faults}")
        self.length_ms = self.scheduler.random.choice((2, 10, 60)) * MINUTE_MS
        self.batch_ops = self.scheduler.random.choice((2, 5, 400))
        """So many changes an agent seals into a batch at most."""
        self.contract = COLLAPSED if seed % 2 else CONTRACT
        self.ids = FixedIds()
        self.rules = SpaceRules(SPACE, self.ids)
        self.spaces = [SPACE]
        """The space as it began, and wherever it went on since."""
        self.log = SimulatedLog(
            self.scheduler, [*space_topics(SPACE.name, SPACE.partitions), devices_topic(), heartbeats_topic()]
        )
        self.log.grown = self._grown
        self.network = Network(self.scheduler)
        self.loops: list[SimulatedLoop] = []
        """Of all lives that there were."""
        self.threads = Threads(self.scheduler)
        self.favourites = all_types.favourites(seed)
        self.forged: set[tuple[int, int]] = set()
        """(partition, offset) of forgeries that nobody has refused yet."""
        self.words: list[str] = []
        """The latest that were written into texts and lists."""
        self._groups = {SPACE.name: Group(self.scheduler, self.log)}
        self.root = root_of(seed, "operator")
        self.cloud: Identity | None = None
        """The workers' own, where they let partitions forget (see `forgetting`)."""
        self.retention_ms = 0
        self.identities = {name: identity_of(seed, name, self.root) for name in EDGES}
        self.operator = Operator(self, self.root)
        self.workers = [WorkerNode(self, f"worker-{i}") for i in (1, 2)]
        self.edges = {name: EdgeNode(self, name, scopes) for name, scopes in EDGES.items()}

    def _enrolled(self, name: str, identity: Identity) -> Device:
        permissions = [c for c in SPACE.commands if c not in FORBIDDEN.get(name, ())]
        if name in self.publishers:
            permissions.append(PUBLISH)
        key = DeviceKey(identity.key_id, identity.public_key, EPOCH_MS)
        return enrolled(name, key, tuple(EDGES[name]), tuple(permissions))

    def worker(self, name: str) -> WorkerNode:
        """By its name."""
        return next(worker for worker in self.workers if worker.name == name)

    @property
    def present(self) -> SpaceContract:
        """The space as it is now."""
        return self.spaces[-1]

    @property
    def ops(self) -> list[str]:
        """Its op topics, those of before among them."""
        return [ops_topic(space.name) for space in self.spaces]

    @property
    def group(self) -> Group:
        """Those who merge it now."""
        return self.group_of(self.present)

    def group_of(self, space: SpaceContract) -> Group:
        """Those who merge a space."""
        if space.name not in self._groups:
            self._groups[space.name] = Group(self.scheduler, self.log, space)
        return self._groups[space.name]

    def rules_by(self, devices: DeviceView) -> SpaceRules:
        """As a worker has them that knows this of the registry."""
        space = present(self.rules.space, devices.moved)
        return self.rules if space is self.rules.space else SpaceRules(space, self.ids, self.rules.cloud)

    def goes_on(self, to: Moved) -> None:
        """The operator has said so of the space."""
        before = self.present.name
        self.spaces.append(present(self.present, lambda name: to if name == before else None))

    def _grown(self, record: LogRecord) -> None:
        ops = self.ops
        if record.topic in ops or record.topic == DEVICES:
            for worker in self.workers:
                worker.wake(record.topic, record.partition)
        if record.topic not in ops:
            for edge in self.edges.values():
                edge.wake(record.topic, record.partition)

    def run(self) -> History:
        """Live the whole life of this world."""
        from tests.simulation import stand_ins

        with stand_ins.in_place(self):
            return self._run()

    def _run(self) -> History:
        from tests.simulation import mischief

        scheduler, history = self.scheduler, self.history
        self.operator.enrol({name: self._enrolled(name, identity) for name, identity in self.identities.items()})
        for worker in self.workers:
            scheduler.after(scheduler.between(0, 2_000), f"{worker.name} start", worker.start)
        for edge in self.edges.values():
            scheduler.after(scheduler.between(0, 2_000), f"{edge.name} start", edge.start)
        mischief.plan(self)
        end = EPOCH_MS + self.length_ms
        scheduler.run_until(end)
        self._heal()
        deadline = end + REST_MS
        while (unrest := self.unrest()) and scheduler.now < deadline:
            scheduler.run_until(scheduler.now + 5_000)
        history.quiet, history.unrest = not unrest, unrest
        self._close()
        self.threads.end()
        for loop in self.loops:
            loop.clear()
        return history

    def _heal(self) -> None:
        self.scheduler.note("healed")
        self.network.heal()
        self.operator.let_in()
        for worker in self.workers:
            worker.heal()
        for edge in [*self.edges.values()]:
            edge.heal()

    def unrest(self) -> str:
        """Why the world is not at rest; empty when it is."""
        for edge in self.edges.values():
            if reason := edge.unrest():
                return f"{edge.name}: {reason}"
        ops = ops_topic(self.present.name)
        for partition in range(self.present.partitions):
            behind = self.log.end(ops, partition) - self.log.committed(ops, partition)
            if behind:
                return f"{behind} op records of partition {partition} are not acknowledged"
        for worker in self.workers:
            if reason := worker.unrest():
                return f"{worker.name}: {reason}"
        return ""

    def _close(self) -> None:
        history, log = self.history, self.log
        codecs = RecordCodecs(self.ids)
        history.devices = dict(self.operator.devices)
        places = [(space.name, p) for space in self.spaces for p in range(space.partitions)]
        history.ops = {(name, p): log.history(ops_topic(name), p) for name, p in places}
        history.states = {(name, p): log.history(state_topic(name), p) for name, p in places}
        last: dict[bytes | None, bytes | None] = {}
        for name, p in places:
            conflicts = log.history(conflicts_topic(name), p)
            history.conflicts += [codecs.decode_conflict(r.value) for r in conflicts if r.value is not None]
            last |= {r.key: r.value for r in conflicts}
            if name == self.present.name:
                history.told_now |= {r.key.decode() for r in conflicts if r.key is not None}
            receipts = log.history(receipts_topic(name), p)
            rows = [(record.key.decode(), record.value) for record in receipts if record.key and b"." in record.key]
            history.rows += [codecs.decode_chain_row(value) for _, value in rows if value is not None]
            history.removed |= {(replica, (name, p)) for replica, value in dict(rows).items() if value is None}
        history.withdrawn = {key.decode() for key, value in last.items() if key is not None and value is None}
        parked = {key: r for space in self.spaces for key, r in log.latest(parked_topic(space.name)).items()}
        said = Counter(record.value for record in log.history(DEVICES, 0) if record.value is not None)
        history.situation("a line of the registry was put back", sum(said.values()) - len(said))
        history.parked_left = sum(r.value is not None for r in parked.values())
        history.ends = {name: edge.end() for name, edge in self.edges.items()}
        history.events = self.scheduler.events
        history.trace_hash = self.scheduler.trace_hash


def identity_of(seed: int, name: str, root: RootKey) -> Identity:
    secret = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=32).digest()
    return Identity(name, "k1", Ed25519PrivateKey.from_private_bytes(secret), root.public)


def simulate(seed: int, variant: Variant = HONEST, listen: Callable[[int, str], None] | None = None) -> History:
    """The history of the world of this seed."""
    return World(seed, variant, listen).run()


__all__: list[Any] = ["Faults", "World", "simulate"]
