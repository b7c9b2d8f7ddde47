"""Worlds with collections that go one way: notes only go up, and leave a device a while after the cloud has them; boards only come down, so that no device but
the office may write them. Everything else goes wrong meanwhile.

Beside the laws of every world: nothing leaves a device that the cloud has not had for as long as was declared, or on which something waits; what may leave
does; a write on what only comes down is refused on the device, and is nowhere.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from driftlog_crdt import Vector
from driftlog_edge.ports import Family
from driftlog_edge.store import housekeeping, keys
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.letting_go import LettingGo, Step
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.contract import AppContract, CollectionContract, OneWay
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.topics import state_topic
from driftlog_streams.core.rules import SpaceRules
from tests.simulation.app import PARTITIONS, SPACE, device_of_node
from tests.simulation.case import Case, Meaningless
from tests.simulation.history import History, Promise
from tests.simulation.judge import Violation, broken
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.small_disks import read
from tests.simulation.user import SKUS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import World

UP, DOWN = "Note", "Board"
PUBLISHER = "office"
SHARE = 16
"""What part of a world's length a note stays."""
READS = 40
"""Of each device."""
PASS_SECONDS = 5.0
PATIENCE_MS = 4 * 5_000
"""In which what may go has gone."""
STATE = state_topic(SPACE.name)

WENT, STAYED = "a row left its device for the first time", "a row was due and stayed, because something waited on it"
AGAIN = "a document that had left was written again, and left once more"
TOLD = "a reader was told that it was let go"
REFUSED = "a write on what only comes down was refused"
PUBLISHED = "who may publish wrote what only comes down"
AT_LEAST = {WENT: 30, STAYED: 3, AGAIN: 10, TOLD: 10, REFUSED: 40, PUBLISHED: 20}
"""In the worlds of a run, also of the shortest; see `test_devices`."""


class OneWayWorld(World):
    """What it draws besides comes from another source than the world's own."""

    errands = ("note", "note", "glance", "discard", "pin", "clear")
    diligence = 32
    publishers = (PUBLISHER,)

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.keep_ms = self.length_ms // SHARE
        self.contract = one_way(self.contract, self.keep_ms / 1000)
        self.rules = SpaceRules(self.contract.spaces[SPACE.name], self.ids)
        self.left: set[tuple[str, bytes]] = set()
        """Rows that have left a device."""

    def _run(self) -> History:
        draw = random.Random(self.history.seed)
        for edge in self.edges.values():
            for _ in range(READS):
                at = EPOCH_MS + draw.randrange(1_000, self.length_ms)
                document = DocumentId(draw.choice((UP, UP, DOWN)), draw.choice(edge.scopes), draw.choice(SKUS))
                self.scheduler.at(at, f"{edge.name} reader", lambda e=edge, d=document: read(e, d, Promise()))
        return super()._run()

    def unrest(self) -> str:
        return super().unrest() or ", ".join(self._overdue())

    def _overdue(self) -> Iterator[str]:
        for edge in self.edges.values():
            found = [] if edge.process is None else edge.process.overdue(self.scheduler.now - PATIENCE_MS)
            if found:
                yield f"{edge.name} has {len(found)} documents that only go up and are due"

    def published(self, document: DocumentId, row: bytes) -> list[int]:
        """When the cloud has published this state of a document."""
        records = self.log.history(STATE, partition_of(document.scope, PARTITIONS))
        name = "/".join(document).encode()
        return [record.timestamp_ms for record in records if record.key == name and record.value == row]


def one_way(contract: AppContract, keep: float) -> AppContract:
    """The same app, some of whose collections go one way."""
    space = contract.spaces[SPACE.name]
    ways: Mapping[str, Mapping[str, Any]] = {
        UP: {"direction": "up", "keep": keep},
        DOWN: {"direction": "down"},
    }
    collections: dict[str, CollectionContract] = {
        name: replace(one, **ways.get(name, {})) for name, one in space.collections.items()
    }
    return replace(contract, spaces={SPACE.name: replace(space, collections=collections)})


@contextmanager
def watched(world: OneWayWorld) -> Iterator[None]:
    """Look at each row as it leaves."""
    step = LettingGo.step

    def looked_at(self: LettingGo) -> Step | None:
        taken = step(self)
        for (family, row), value in ({} if taken is None else taken.writes).items():
            if family is Family.CONFIRMED and value is None:
                left = (self._journal._store._disk.name, row)  # type: ignore[attr-defined]  # it is a `DiskStore`
                world.history.situation(AGAIN if left in world.left else WENT)
                world.left.add(left)
                world.edges[left[0]].left(parse_document_key(keys.document_of_confirmed(row)))
                world.history.crashes.extend(_too_soon(world, self, row))
        for document in () if taken is None else taken.documents:
            waits = next(marks_of(self._journal, document), None) is not None
            world.history.situation(STAYED, waits)
        return taken

    with ExitStack() as stack:
        stack.enter_context(patch.object(housekeeping, "PASS_SECONDS", PASS_SECONDS))
        stack.enter_context(patch.object(LettingGo, "step", looked_at))
        yield


def _too_soon(world: OneWayWorld, leaving: LettingGo, row: bytes) -> Iterator[str]:
    """Why a row may not leave now."""
    key = keys.document_of_confirmed(row)
    if next(marks_of(leaving._journal, key), None) is not None:
        yield f"{row!r} left its device, and changes of it wait to be sent"
    times = world.published(parse_document_key(key), leaving._journal.get(Family.CONFIRMED, row) or b"")
    if not times:
        yield f"{row!r} left its device, and the cloud has never published it so"
    elif world.scheduler.now < min(times) + world.keep_ms:
        yield f"{row!r} left its device {world.scheduler.now - min(times)} ms after it was published, of {world.keep_ms}"


# -- the judgement


def who_may_not_publish_is_refused(case: Case) -> Iterator[str]:
    """A write on what only comes down is answered with `one_way` on the device, and never sent."""
    for answer in case.history.answers:
        intent = case.history.intents[answer.command_id]
        if intent.name in ("pin", "clear") and device_of_node(answer.edge) != PUBLISHER:
            yield f"{answer.command_id} of {intent.name} was taken by {answer.edge}, which may not publish"
    for command_id, decision in case.decisions.items():
        down = any(document.collection == DOWN for document, _ in decision.command.ops)
        if down and device_of_node(command_id.partition(":")[0]) != PUBLISHER:
            yield f"{command_id} changes what only comes down, and is in the log"


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and how much of it there was."""
    world = OneWayWorld(seed, variant)
    with watched(world):
        history = world.run()
    try:
        case = Case(history, world.contract.spaces[SPACE.name])
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()
    found = broken(case)
    found += [Violation("what only comes down is not written", fact) for fact in who_may_not_publish_is_refused(case)]
    return found, covered(case)


def covered(case: Case) -> Counter[str]:
    """How much of it there was."""
    history = case.history
    writes = Counter(history.intents[one.command_id].name for one in history.answers)
    return history.situations + Counter(
        {
            TOLD: sum(read.code == "let_go" for read in history.reads),
            REFUSED: sum(code == OneWay.__name__ for *_, code in history.refusals),
            PUBLISHED: writes["pin"] + writes["clear"],
        }
    )


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


def nothing_waits(*_: Any) -> Iterator[int]:
    """Planted: whatever is due goes, also what the cloud does not have."""
    return iter(())


def at_once(self: GoingUp, collection: CollectionContract, at_ms: int) -> int:
    """Planted: a row may go as soon as the cloud has it."""
    return max(1, at_ms)


def never(self: LettingGo) -> Step | None:
    """Planted: nothing goes."""
    return None


def forgets_its_dots(*_: Any) -> Vector:
    """Planted: nothing is kept in the place of a row that went."""
    return {}


PLANTED = (
    Variant("what waits is let go", planted=(("driftlog_edge.store.letting_go.marks_of", nothing_waits),), shows=8),
    Variant("what came up goes at once", planted=(("driftlog_edge.store.going_up.GoingUp.due", at_once),), shows=8),
    Variant("what is due stays", planted=(("driftlog_edge.store.letting_go.LettingGo._rows", never),)),
    Variant("a dot is used again", planted=(("driftlog_edge.store.letting_go.learnt", forgets_its_dots),), shows=8),
    Variant(
        "whoever writes it may publish",
        planted=(("driftlog_edge.link.registry_line.RegistryLine.publishes", property(lambda _: True)),),
        shows=8,
    ),
)
