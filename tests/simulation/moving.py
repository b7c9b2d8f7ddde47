"""Worlds in which an operator gives the space another number of partitions in the middle of the life of its devices, once or twice, while everything else goes wrong.

His command (production's, see `repartition_rim`) is cut off after each of its steps and run again; a move is taken back before a log is closed. Devices are away when the space
moves, are killed while they carry their folders, and find their disks full. The laws are those of every world, over both logs: the old one up to its ends. Besides, all there is
lies where the space is now.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from driftlog_edge import opening
from driftlog_edge.errors import DiskFull
from driftlog_edge.outgoing.lineage import NOTHING, Lineage
from driftlog_edge.ports import Family, Store
from driftlog_edge.store import carrying
from driftlog_edge.store.moves import destined
from driftlog_edge.store.moves import present as as_it_lies
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import CLOSER, DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import SetupProblem
from tests.simulation.app import SPACE
from tests.simulation.case import Case, Meaningless
from tests.simulation.coverage import covered as covered_by_all
from tests.simulation.disk import Disk
from tests.simulation.edge_node import EdgeNode
from tests.simulation.edge_process import CARRIED_AT_START, CARRIED_OPEN
from tests.simulation.history import History, Promise
from tests.simulation.judge import Violation, broken
from tests.simulation.life import ProcessDied
from tests.simulation.repartition_rim import ANNOUNCED, DESK, STEPS, TIMES, Attempt, Command, Cut, Desk, below, cut_at
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.user import SKUS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import MINUTE_MS, World, identity_of

LENGTH_MS = 6 * MINUTE_MS
COUNTS = (1, 2, 4, 5, 7)
"""How many partitions a space may be given."""
CARRIED_AT_ONCE = 3
"""Entries of a folder in one write of its carrying, so that it takes several."""
WAIT_SECONDS = 90.0
"""What the operator gives the workers to confirm what was closed."""
READS = 30
"""Of each device."""
PROMISES = (Promise(), Promise(strong=True), Promise(strong=True), Promise(max_age=5.0))

MOVED, AGAIN, TAKEN_BACK = (
    "a space was given another number of partitions",
    "a space moved a second time",
    "a move was taken back",
)
GONE_ON = "a move went on behind what an attempt before had written"
AWAY = "a device was away when its space moved"
KILLED, FULL = "an agent was killed while it carried its folder", "a disk was full while a folder was carried"
WAITED = "commands waited on a device when its space had moved"
OPEN = "a conflict was open when its space moved"
GIVEN_BACK, BEHIND = (
    "a command that waited was given back at the end of its log",
    "a record came behind the end of a log",
)
BY_TWO_LIVES = "a command came by two lives and counted once"
WORKERS_LEFT = "a worker ended because its space goes on elsewhere"
AT_LEAST = {
    MOVED: 10,
    AGAIN: 2,
    TAKEN_BACK: 2,
    GONE_ON: 1,
    AWAY: 3,
    KILLED: 3,
    FULL: 3,
    CARRIED_AT_START: 3,
    CARRIED_OPEN: 10,
    WAITED: 20,
    OPEN: 2,
    BEHIND: 2,
    WORKERS_LEFT: 15,
    **{cut_at(step): 1 for step in STEPS},
}
"""In the worlds of a run, also of the shortest; see `test_moving`."""


class MovingWorld(World):
    """What it draws besides comes from another source than the world's own."""

    closes = True
    diligence = 40
    soonest = 8
    """In which part of its length an operator begins at the earliest; at the latest in the half."""

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.length_ms = LENGTH_MS
        self.draw = random.Random(seed)
        self.desk = Desk(Disk(self.scheduler, DESK))
        self.attempt: Attempt | None = None
        self.takes_back = self.draw.random() < 0.4
        """Does the operator think better of it at first?"""
        counts = self.draw.sample([count for count in COUNTS if count != SPACE.partitions], 2)
        self.wanted = counts if self.draw.random() < 0.4 else counts[:1]
        """How many partitions the space is to be given, one after the other."""
        self.cuts = [
            Cut(step, self.draw.randrange(TIMES[step]), self.draw.random() < 0.5) for step in self._cut_at(seed)
        ]
        """Where the next runs of the operator's command are cut off."""

    def _cut_at(self, seed: int) -> list[str]:
        """Each step has its turn in some world or other; and some more."""
        return [STEPS[seed % len(STEPS)], *(self.draw.choice(STEPS) for _ in range(self.draw.randrange(4)))]

    def identity_of(self, name: str) -> Identity:
        """Of a device that is none of the edges."""
        return identity_of(self.history.seed, name, self.root)

    def worker(self, name: str) -> Any:
        return self.desk if name == DESK else super().worker(name)

    # -- what happens

    def _run(self) -> History:
        draw, length = self.draw, self.length_ms
        at = EPOCH_MS + draw.randrange(length // self.soonest, length // 2)
        self.scheduler.at(at, "the operator begins", self._next_move)
        for edge in draw.sample(list(self.edges.values()), draw.randrange(3)):
            away = at - draw.randrange(1_000, 30_000)
            lasts = draw.randrange(length // 8, length)
            self.scheduler.at(away, f"{edge.name} is away", lambda e=edge, ms=lasts: self.network.cut_off(e.name, ms))
        if draw.random() < 0.3:
            cut = at + draw.randrange(0, 60_000)
            lasts = draw.randrange(1_000, 60_000)
            self.scheduler.at(cut, f"{DESK} is cut off", lambda: self.network.cut_off(DESK, lasts))
        for edge in self.edges.values():
            for _ in range(READS):
                self._plan_read(edge)
        return super()._run()

    def _plan_read(self, edge: EdgeNode) -> None:
        draw = self.draw
        kind = draw.choice(list(SPACE.collections))
        document = DocumentId(kind, draw.choice(edge.scopes), "today" if kind == "Ledger" else draw.choice(SKUS))
        promise, at = draw.choice(PROMISES), EPOCH_MS + draw.randrange(1_000, self.length_ms)

        def read() -> None:
            if edge.process is not None:
                edge.process.read(document, promise)

        self.scheduler.at(at, f"{edge.name} reader", read)

    def _next_move(self) -> None:
        """Run the operator's command, unless it runs or there is nothing to do."""
        if not self.wanted or self.attempt is not None:
            return
        cut, work = None, self._carry_out
        if self.takes_back and not self.network.healed:
            if self.operator.announced(self.present.name) is None:
                cut = Cut(ANNOUNCED, 0, after=True)
            else:
                work = self._take_back
        elif self.cuts and not self.network.healed:
            cut = self.cuts.pop(0)
        self.desk.disk.wipe()
        self.attempt = Attempt(self, cut, work, self._ended)

    def _carry_out(self, attempt: Attempt) -> None:
        (partitions, *later), number = self.wanted, len(self.spaces)
        with Command(self, WAIT_SECONDS) as command:
            try:
                done = command.carry_out(partitions, self.scheduler.now)
                self.history.situation(GONE_ON, done.written_before > 0)
            except SetupProblem as problem:
                self.scheduler.note(f"{DESK}: {problem}")
            finally:
                if len(self.spaces) > number:
                    self._moved()
                    self.wanted = later

    def _moved(self) -> None:
        history, before = self.history, self.spaces[-2].name
        history.situation(MOVED if len(self.spaces) == 2 else AGAIN)
        history.situation(AWAY, sum(not self.network.reachable(name) for name in self.edges))
        open_now = {r.key for r in self.log.latest(f"{before}.conflicts").values() if _is_open(self, r.value)}
        history.situation(OPEN, len(open_now))

    def _take_back(self, attempt: Attempt) -> None:
        with Command(self, WAIT_SECONDS) as command:
            command.take_back()
        self.takes_back = False
        self.history.situation(TAKEN_BACK)

    def _ended(self, why: str) -> None:
        self.scheduler.note(f"{DESK}: {why}")
        self.attempt = None
        self.scheduler.after(self.draw.randrange(500, 40_000), "the operator goes on", self._next_move)

    def _heal(self) -> None:
        super()._heal()
        if self.attempt is not None:
            self.attempt.cut = None
        self._next_move()

    def unrest(self) -> str:
        return "the operator is not done" if self.wanted else super().unrest()


def _is_open(world: World, value: bytes | None) -> bool:
    return value is not None and not world.rules.records.decode_conflict(value).status.over


# -- carrying


@contextmanager
def watched(world: MovingWorld) -> Iterator[None]:
    """The operator's command on the world's log, and what goes wrong while a folder is carried."""
    honest = opening.carry

    def carries(store: Store, declared: AppContract, wall_ms: int) -> AppContract:
        before, goal = as_it_lies(store, declared), destined(store, declared)
        if before == goal:
            return honest(store, declared, wall_ms)
        node: EdgeNode = world.edges[store._disk.name]  # type: ignore[attr-defined]  # it is a `DiskStore`
        world.history.situation(WAITED, sum(1 for _ in store.scan(Family.OUTBOX, b"")))
        if not world.network.healed:
            _mishap(world, node)
        try:
            found = honest(store, declared, wall_ms)
        except ProcessDied:
            world.history.situation(KILLED)
            raise
        except DiskFull:
            world.history.situation(FULL)
            raise
        world.history.situation(FULL, found == before)
        return found

    with ExitStack() as stack:
        for name, stand_in in below(world):
            stack.enter_context(patch(name, stand_in))
        stack.enter_context(patch.object(opening, "carry", carries))
        stack.enter_context(patch.object(carrying, "AT_ONCE", CARRIED_AT_ONCE))
        yield


def _mishap(world: MovingWorld, node: EdgeNode) -> None:
    chance = world.draw.random()
    if chance < 0.3:
        node.disk.die_within(12)
    elif chance < 0.6:
        node.disk.fill_within(8)
        world.scheduler.after(world.draw.randrange(1_000, 60_000), f"{node.name} disk has space", node.disk.make_room)


# -- the judgement


def all_lies_where_the_space_is_now(world: MovingWorld, case: Case) -> Iterator[str]:
    """Each document and each conflict, in the partition that it has now, and nobody speaks in a closed log."""
    space = world.present
    there: dict[DocumentId, int] = {}
    for document, at in case.lying(space.name):
        if there.setdefault(document, at) != at or partition_of(document.scope, space.partitions) != at:
            yield f"{'/'.join(document)} lies in partition {at} of {space.name}"
    for document, meaning in case.reference.documents.items():
        if meaning.seen and document not in there:
            yield f"{space.name} lacks {'/'.join(document)}"
    for identifier in case.reference.conflicts.keys() - case.history.told_now:
        yield f"{space.name} tells nothing of conflict {identifier}"


def what_lay_behind_an_end_is_answered(case: Case) -> Iterator[str]:
    """No row of a closed log tells of a record behind its end."""
    ends = {place: _end(records) for place, records in case.history.ops.items()}
    for row in case.history.rows:
        end = ends[row.space, row.partition]
        if end is not None and row.offset > end:
            yield f"the row of {row.replica} in {row.space}[{row.partition}] tells of {row.offset}, behind the end at {end}"


def _end(records: Any) -> int | None:
    return next((record.offset for record in records if record.key == CLOSER.encode()), None)


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and how much of it there was."""
    world = MovingWorld(seed, variant)
    with watched(world):
        history = world.run()
    try:
        case = Case(history)
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()
    facts = [*all_lies_where_the_space_is_now(world, case), *what_lay_behind_an_end_is_answered(case)]
    return [*broken(case), *(Violation("a space moves whole", fact) for fact in facts)], covered(case)


def covered(case: Case) -> Counter[str]:
    """How much of it there was."""
    found = covered_by_all(case)
    found[GIVEN_BACK] += case.reference.given_back
    for records in case.history.ops.values():
        end = _end(records)
        found[BEHIND] += 0 if end is None else sum(r.offset > end and r.key != CLOSER.encode() for r in records)
    return found


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


def never(*_: Any) -> bool:
    """Planted: a worker goes on merging behind the end of a log."""
    return False


def nobody_else_spoke(*_: Any) -> Lineage:
    """Planted: what another copy of a folder has sent before the end comes along once more."""
    return NOTHING


def all_in_the_first(scope: str, partitions: int) -> int:
    """Planted: documents are laid into one partition."""
    return 0


def leaves_it_behind(*_: Any) -> dict[Any, Any]:
    """Planted: what waits is not carried along."""
    return {}


PLANTED = (
    Variant(
        "what waits stays behind",
        planted=(("driftlog_edge.store.carrying._Carrying._waiting", leaves_it_behind),),
    ),
    Variant(
        "a worker merges behind the end", planted=(("driftlog_streams.core.closing.Closing.over_at", never),), shows=3
    ),
    Variant(
        "what another copy has sent comes along again",
        planted=(("driftlog_edge.outgoing.renewal.lineage", nobody_else_spoke),),
        shows=1,
    ),
    Variant(
        "documents are laid into one partition",
        planted=(("driftlog_streams.replaying.spreading.partition_of", all_in_the_first),),
    ),
)
