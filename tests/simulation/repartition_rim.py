"""What stands below `driftlog topics repartition` in a world: the command is production's own, in a thread of a machine of its own, and each thing that it has the
cluster do takes its time.

A run of it may be cut off at any of these, before or after it; whatever it had begun stays as it is, and nobody tells the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from driftlog_schemas.devices import Device, DeviceKey, enrolled
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.generations import FIRST, InForce, line_name, switched
from driftlog_schemas.identity import CLOSER, CLOUD
from driftlog_schemas.moves import Moved, announcing, moving
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import Plan, SpaceTopics, Topic, conflicts_topic, ops_topic, quarantine_topic
from driftlog_streams.core.rights import CLOSE
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.replaying.closing_logs import wait_confirmed
from driftlog_streams.replaying.repartitioning import Repartitioning
from tests.simulation.disk import Disk
from tests.simulation.life import Life, ProcessDied
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.worker_rim import Folder, Reading, Recovery

if TYPE_CHECKING:
    from tests.simulation.moving import MovingWorld

T = TypeVar("T")

DESK = "desk"
"""Where it runs."""
READ, ANNOUNCED, CLOSED, CONFIRMED, LAID = "read", "announced", "closed", "confirmed", "laid"
CALLED = "writing what reactions had called for"
"""Only where something reacts (see `moving_reactions`)."""
NUMBERED, TOLD, WRITTEN, BEGUN, SAID = "numbered", "told of conflicts", "written", "begun", "said"
STEPS = (READ, ANNOUNCED, CLOSED, CONFIRMED, LAID, NUMBERED, TOLD, WRITTEN, BEGUN, SAID)
"""What it has the cluster do, in their order; most of it more than once."""
TIMES = {
    READ: 2,
    ANNOUNCED: 1,
    CLOSED: 3,
    CALLED: 1,
    CONFIRMED: 1,
    LAID: 2,
    NUMBERED: 4,
    TOLD: 1,
    WRITTEN: 4,
    BEGUN: 1,
    SAID: 1,
}
"""How often at least, where there is anything to move."""
AT_ONCE = {CLOSED: 1, CALLED: 1, NUMBERED: 40, TOLD: 2, WRITTEN: 3}
"""So many records of a kind are one step."""
PATIENCE_MS = 20_000
"""For so long it waits for a broker that it cannot reach."""


class Cut(NamedTuple):
    """Where a run ends before its time: at such a step, when so many of them are over, before or after it."""

    step: str
    done: int
    after: bool


class Desk:
    """The operator's machine, as a world's store knows whose disk it is on."""

    process = None

    def __init__(self, disk: Disk) -> None:
        self.disk = disk


class Attempt:
    """One run of the command. `ended` is told when nothing of it happens any more, and why."""

    def __init__(
        self, world: MovingWorld, cut: Cut | None, work: Callable[[Attempt], None], ended: Callable[[str], None]
    ) -> None:
        self.world = world
        self.cut = cut
        self._met = 0
        self._work, self._ended = work, ended
        self.life = Life(world.scheduler, DESK)
        self.life.owner = self
        self.life.on_death = self._cut_off
        world.threads.begin(self.life, "driftlog topics repartition", self._run)

    def _run(self) -> None:
        try:
            self._work(self)
        except (BrokerUnreachable, DeliveryFailed) as error:
            self._over(str(error))
        else:
            self._over("done")

    def _cut_off(self) -> None:
        assert self.cut is not None
        self.world.history.situation(cut_at(self.cut.step))
        self._over(f"cut off at {self.cut}")

    def _over(self, why: str) -> None:
        self.life.end()
        self._ended(why)

    def step(self, name: str, do: Callable[[], T]) -> T:
        """Have the cluster do something. Raises `BrokerUnreachable`; `ProcessDied` where the run is cut off."""
        self._wait()
        cut = self.cut
        here = cut is not None and cut.step == name and cut.done == self._met
        if here and cut is not None and not cut.after:
            raise ProcessDied(f"before {cut}")
        self._met += cut is not None and cut.step == name
        done = do()
        if here:
            raise ProcessDied(f"after {cut}")
        return done

    def _wait(self) -> None:
        world = self.world
        wait_ms = world.network.arrival(DESK) - world.scheduler.now
        world.threads.sleep(min(wait_ms, PATIENCE_MS) / 1000)
        if wait_ms > PATIENCE_MS:
            raise BrokerUnreachable("no answer", "try again")


def cut_at(step: str) -> str:
    """What is counted when a run was cut off there."""
    return f"the operator's command was cut off when it was {step}"


def _attempt() -> Attempt:
    """The one that runs now."""
    assert Life.current is not None
    found: Attempt = Life.current.owner
    return found


class Registry:
    """`Enrolment`: the operator's word on spaces."""

    def __init__(self, world: MovingWorld) -> None:
        self._world, self._operator = world, world.operator
        self.view = SimpleNamespace(find=self._operator.devices.get, catch_up=lambda: None)

    def generations(self, space: str) -> tuple[InForce, frozenset[int]]:
        return FIRST, frozenset({1})

    def announce(self, space: str, partitions: int | None) -> int:
        line = announcing(self._line(space), partitions, self._world.scheduler.now)
        _attempt().step(ANNOUNCED, lambda: self._operator.say(line))
        return line.version

    def require_announced(self, space: str, announced_in: int) -> None:
        assert space == self._world.present.name and self._line(space).version == announced_in

    def move(self, space: str, to: Moved, announced_in: int) -> None:
        self.require_announced(space, announced_in)
        line = moving(self._line(space), to, self._world.scheduler.now)

        def said() -> None:
            self._world.goes_on(to)
            self._operator.say(line)

        _attempt().step(SAID, said)

    def _line(self, space: str) -> Device:
        known = self._operator.devices.get(line_name(space))
        return known or switched(None, space, FIRST, self._world.scheduler.now)


class _Recovery(Recovery):
    def recover(self, stores: Any) -> Any:
        return _attempt().step(READ, lambda: super(_Recovery, self).recover(stores))


class _Commits:
    """`Commits`, on the simulated log."""

    def __init__(self, world: MovingWorld, partitions: int) -> None:
        self._log, self._partitions = world.log, partitions

    def read(self, topics: SpaceTopics) -> dict[int, int]:
        log = self._log
        return _attempt().step(
            CONFIRMED, lambda: {number: log.committed(topics.ops, number) for number in range(self._partitions)}
        )

    def begin(self, topics: SpaceTopics, offsets: Mapping[int, int]) -> None:
        def begun() -> None:
            for number, offset in offsets.items():
                self._log.commit(topics.ops, number, offset)

        _attempt().step(BEGUN, begun)


class _Admin:
    """`TopicsAdmin`, on the simulated log."""

    def __init__(self, world: MovingWorld) -> None:
        self._log = world.log

    def require(self, wanted: Sequence[Topic]) -> None:
        assert all(self._log.partitions(topic.name) == topic.partitions for topic in wanted)

    def existing(self, names: Collection[str]) -> dict[str, Topic]:
        return self._log.there(names)

    def topic_ids(self, names: Iterable[str]) -> list[str]:
        return [self._log.topic_id(name) for name in names]

    def remove(self, names: Sequence[str]) -> None:
        _attempt().step(LAID, lambda: self._log.remove(names))

    def apply(self, plan: Plan) -> None:
        _attempt().step(LAID, lambda: self._log.make(plan.create))

    def forget_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        def forgotten() -> None:
            for partition, offset in offsets.items():
                self._log.forget_before(topic, partition, offset)

        _attempt().step(NUMBERED, forgotten)


class _Delivery:
    """`Delivery`, to the simulated log: some records at a time, so that a run can be cut off in the middle."""

    def __init__(self, world: MovingWorld) -> None:
        self._world = world

    def deliver(self, records: Sequence[OutRecord]) -> None:
        if not records:
            return
        kind = self._kind(records[0])
        for at in range(0, len(records), AT_ONCE[kind]):
            try:
                _attempt().step(kind, partial(self._put, records[at : at + AT_ONCE[kind]]))
            except BrokerUnreachable as error:
                raise DeliveryFailed(str(error), "try again") from error

    def _put(self, records: Sequence[OutRecord]) -> None:
        for topic, partition, key, value, headers in records:
            self._world.log.append(topic, partition, key, value, headers or ())

    def _kind(self, record: OutRecord) -> str:
        topic, present = record.topic, self._world.present.name
        if topic == ops_topic(present):
            return CLOSED
        if record.key == CLOUD.encode() and topic.endswith((ops_topic(""), quarantine_topic(""))):
            return CALLED
        if topic.endswith(ops_topic("")):
            return NUMBERED
        return TOLD if topic.endswith(conflicts_topic("")) else WRITTEN


def closing_identity(world: MovingWorld, *_: Any) -> Identity:
    """As production's, with a key that the seed always has."""
    identity = world.identity_of(CLOSER)
    if CLOSER not in world.operator.devices:
        key = DeviceKey(identity.key_id, identity.public_key, EPOCH_MS)
        world.operator.say(enrolled(CLOSER, key, (), (CLOSE,)))
    return identity


class Command(Repartitioning):
    """Production's, in a world."""

    def __init__(self, world: MovingWorld, wait_seconds: float) -> None:
        super().__init__(world.present, world.ids, "nowhere", Registry(world), wait_seconds, cloud=world.cloud)  # type: ignore[arg-type]


def below(world: MovingWorld) -> list[tuple[str, Any]]:
    """What stands in for what production takes from the machine and the cluster."""
    replaying = "driftlog_streams.replaying"
    return [
        (f"{replaying}.repartitioning.scratch", lambda kind: nullcontext(Folder(DESK))),
        (f"{replaying}.repartitioning.TopicsAdmin", lambda kafka: _Admin(world)),
        (f"{replaying}.repartitioning.Commits", lambda kafka, partitions: _Commits(world, partitions)),
        (f"{replaying}.repartitioning.WorkerReader", lambda kafka, merged: SimpleNamespace(look=lambda space: [])),
        (f"{replaying}.repartitioning.ChangelogRecovery", lambda kafka, rules: _Recovery(world, rules)),
        (f"{replaying}.repartitioning.Delivery", lambda kafka: _Delivery(world)),
        (f"{replaying}.laying.Delivery", lambda kafka: _Delivery(world)),
        (f"{replaying}.repartitioning.closing_identity", partial(closing_identity, world)),
        (
            f"{replaying}.repartitioning.wait_confirmed",
            partial(wait_confirmed, clock=world.threads.monotonic, pause=world.threads.sleep),
        ),
        (f"{replaying}.renumbering.Delivery", lambda kafka: _Delivery(world)),
        (f"{replaying}.logs.plain_reader", lambda *_: Reading(world)),
    ]
