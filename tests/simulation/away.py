"""Worlds whose collections say for how long a device may be away (`offline_limit`): what was written too far from the cloud waits for people, who apply or drop it,
while everything else goes wrong.

Beside the laws of every world: what was written in a cut that was longer than allowed went to the review list, nothing of what was dropped has an effect, and in the end
nothing waits any more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.executor import Executed
from driftlog_edge.asking.overdue import OFFLINE_TOO_LONG
from driftlog_edge.link.absence import Absence
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_schemas.contract import AppContract
from driftlog_schemas.partitioning import partition_of
from tests.simulation.app import PARTITIONS, SPACE, device_of_node
from tests.simulation.case import Case, Meaningless
from tests.simulation.edge_node import EdgeNode
from tests.simulation.history import Answer, History, Listed
from tests.simulation.judge import Violation, broken
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import World

LIMITED = ("Stock", "Job")
SHARE = 24
"""What part of a world's length such a collection allows."""
CUTS = 4
"""Of each device's link, besides those that are drawn; most are longer than that."""
LOOKS = 12
"""How often a person looks at a device's list, and decides some of it."""
NOTICED_MS = 5_000
"""In which an agent sees that a limit is passed: what was sealed by then goes as ever."""

WAITED, APPLIED, DROPPED = "a command waited for a person", "a person applied a command", "a person dropped a command"
OWED = "a command was written too far from the cloud"
AT_LEAST = {WAITED: 40, APPLIED: 15, DROPPED: 15, OWED: 5}
"""In the worlds of a run, also of the shortest; see `test_devices`."""


class AwayWorld(World):
    """What it draws besides comes from another source than the world's own."""

    diligence = 32

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.limit_ms = self.length_ms // SHARE
        self.contract = with_limits(self.contract, self.limit_ms / 1000)
        self._draw = random.Random(seed)

    def _run(self) -> History:
        draw, length = self._draw, self.length_ms
        for edge in self.edges.values():
            for _ in range(CUTS):
                at, lasts = (
                    EPOCH_MS + draw.randrange(1_000, length),
                    draw.randrange(self.limit_ms // 2, 4 * self.limit_ms),
                )
                self.scheduler.at(at, f"{edge.name} is away", lambda e=edge, ms=lasts: self.network.cut_off(e.name, ms))
            for _ in range(LOOKS):
                at = EPOCH_MS + draw.randrange(1_000, length)
                self.scheduler.at(at, f"{edge.name} person", lambda e=edge: self._look(e, 0.3))
        return super()._run()

    def unrest(self) -> str:
        return ", ".join(self._decided()) or super().unrest()

    def _decided(self) -> Iterator[str]:
        """Have people decide what is left."""
        for edge in [*self.edges.values()]:
            if count := self._look(edge, 0.9):
                yield f"{edge.name} has {count} commands that wait for a person"

    def _look(self, edge: EdgeNode, decides: float) -> int:
        """How many there are; each is decided with this probability."""
        reviewed = [] if edge.process is None else edge.process.review()
        for command, entry in reviewed:
            self.history.listed.append(Listed(self.scheduler.now, edge.name, command.id, entry.code))
            if self._draw.random() < decides and edge.process is not None:
                apply = self._draw.random() < 0.5
                if not apply:
                    self.history.dropping.add(command.id)
                edge.process.decide(command.id, apply=apply)
        return len(reviewed)


def with_limits(contract: AppContract, seconds: float) -> AppContract:
    """The same app, some of whose collections allow a device to be away for so long."""
    space = contract.spaces["retail"]
    limited = {name: replace(space.collections[name], offline_limit=seconds) for name in LIMITED}
    return replace(contract, spaces={"retail": replace(space, collections={**space.collections, **limited})})


# -- the judgement


def what_was_written_too_far_away_waits(world: AwayWorld, case: Case) -> Iterator[str]:
    """It was on the list of its device, or its device has refused it meanwhile."""
    listed = {(one.edge, one.command_id) for one in case.history.listed}
    for answer in owed(world, case):
        if (answer.edge, answer.command_id) not in listed:
            yield f"{answer.command_id} was written at {answer.at_ms} while {answer.edge} was away for too long, and waited for nobody"


def owed(world: AwayWorld, case: Case) -> Iterator[Answer]:
    """The commands on such collections that came in, and were written when a cut had been longer than they allow."""
    history = case.history
    devices = [device_of_node(name) for name in history.ends]
    healed = EPOCH_MS + world.length_ms
    for edge in world.edges:
        if devices.count(device_of_node(edge)) > 1 or any(one.edge == edge for one in history.restored):
            continue  # what a copy knows of, another one may bring
        starts = [cut.at_ms for cut in history.cuts if cut.edge == edge and cut.restart]
        for start, end in world.network.cuts(edge):
            known = start + world.limit_ms + NOTICED_MS
            for one in history.answers:
                if one.edge != edge or not known <= one.at_ms < min(end, healed):
                    continue
                sent = _limited(case, one.command_id)
                # After a power cut nobody knows for how long it was off.
                if sent is not None and not any(start - NOTICED_MS <= at <= sent for at in starts):
                    yield one


def _limited(case: Case, command_id: str) -> int | None:
    """When a command came in that changes such a collection; None for others."""
    decision = case.decisions.get(command_id)
    if decision is None or not any(document.collection in LIMITED for document, _ in decision.command.ops):
        return None
    partition = partition_of(decision.command.scope, PARTITIONS)
    return case.history.ops[SPACE.name, partition][decision.offset].timestamp_ms


def what_was_dropped_has_no_effect(case: Case) -> Iterator[str]:
    """Unless somebody has applied it on another copy of the folder, or it was on the list because it may have counted already."""
    history = case.history
    applied = {one.command_id for one in history.decided if one.applied}
    other = {one.command_id for one in history.listed if one.code != OFFLINE_TOO_LONG}
    several = {device_of_node(name) for name in history.ends if name != device_of_node(name)}
    set_back = {device_of_node(one.edge) for one in history.restored}
    for one in history.decided:
        device = device_of_node(one.edge)
        if one.applied or one.command_id in applied | other or device in several | set_back:
            continue
        if one.command_id in case.decisions:
            yield f"{one.command_id} was dropped at {one.edge} at {one.at_ms}, and is in the log"


def nothing_waits_for_ever(case: Case) -> Iterator[str]:
    """In the end people have decided all of it."""
    for edge, end in case.history.ends.items():
        waiting = [name for name, (status, _) in end.status.items() if status == "review"]
        if waiting:
            yield f"{edge} ends with {waiting} under review"


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and how much of it there was."""
    world = AwayWorld(seed, variant)
    history = world.run()
    try:
        case = Case(history)
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()
    facts = [*what_was_written_too_far_away_waits(world, case), *what_was_dropped_has_no_effect(case)]
    found = [*broken(case), *(Violation("a limit holds", fact) for fact in [*facts, *nothing_waits_for_ever(case)])]
    return found, covered(world, case)


def covered(world: AwayWorld, case: Case) -> Counter[str]:
    """How much of it there was."""
    history = case.history
    waited = {(one.edge, one.command_id) for one in history.listed if one.code == OFFLINE_TOO_LONG}
    applied = sum(one.applied for one in history.decided)
    return Counter(
        {
            WAITED: len(waited),
            APPLIED: applied,
            DROPPED: len(history.decided) - applied,
            OWED: sum(1 for _ in owed(world, case)),
        }
    )


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


async def lets_it_pass(self: Absence) -> None:
    """Planted: nobody asks how long the device was away."""


def sends_it_nonetheless(self: Again, command_id: str) -> Executed:
    """Planted: what a person drops leaves the list, and goes like what was applied."""
    return self.apply(command_id)


class ForgetsTheList(Again):
    """Planted: what is taken back for a person is on nobody's list."""

    def take_back(self, *given: Any, **more: Any) -> Any:
        writes = super().take_back(*given, **more)
        return {
            place: value
            for place, value in writes.items()
            if not (place[0] is Family.META and place[1].startswith(keys.REVIEWS))
        }


PLANTED = (
    Variant(
        "nobody asks how long a device was away", planted=(("driftlog_edge.link.absence.Absence.met", lets_it_pass),)
    ),
    Variant("what is dropped is sent", planted=(("driftlog_edge.asking.again.Again.drop", sends_it_nonetheless),)),
    Variant("the list is lost", planted=(("driftlog_edge.assembly.Again", ForgetsTheList),)),
)
