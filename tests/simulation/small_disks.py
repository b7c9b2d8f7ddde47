"""Worlds whose devices have a budget for their disks: documents make room and are fetched again, while everything else goes wrong.

How much a disk may take changes while they run, most of the time to less than there is, so that all goes that may. Readers ask for documents that
are here and for such as made room. In the end there is room again, and everything is fetched: so what every edge then has is held against the log, byte
for byte, as in every world.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from driftlog_edge import config
from driftlog_edge.incoming.landing import Landing
from driftlog_edge.incoming.states import States
from driftlog_edge.link.refetch import Refetch
from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import budget, keys
from driftlog_edge.store.evicted import Marker
from driftlog_edge.store.eviction import Eviction
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.identity import DocumentId
from tests.simulation.app import SPACE
from tests.simulation.case import Case, Meaningless
from tests.simulation.edge_node import EdgeNode
from tests.simulation.history import History, Promise
from tests.simulation.judge import Violation, broken
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.user import SKUS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import World

SQUEEZES = 12
"""How often a device is given another budget."""
SHARES = (0.3, 0.6, 0.8, 0.95, 1.5)
"""Of what its store takes at that moment."""
READS = 60
"""Of each device."""
PROMISES = (Promise(), Promise(), Promise(strong=True), Promise(max_age=20.0))
LOOK_SECONDS = 5.0

EVICTED, FETCHED = "documents were evicted", "a document was fetched again"
CHANGED, DELETED = "a state came of what was evicted", "a deletion came of what was evicted"
SAID = "a reader was told that it is evicted"
AT_LEAST = {EVICTED: 200, FETCHED: 100, CHANGED: 60, DELETED: 3, SAID: 5}
"""In the worlds of a run, also of the shortest; see `test_devices`."""


class SmallDisksWorld(World):
    """What it draws besides comes from another source than the world's own, so that the world of a seed stays as it is."""

    def _run(self) -> History:
        draw = random.Random(self.history.seed)
        places = [(name, one) for name, one in SPACE.collections.items()]
        for edge in self.edges.values():
            for _ in range(SQUEEZES):
                at = EPOCH_MS + draw.randrange(1_000, self.length_ms)
                share = draw.choice(SHARES)
                self.scheduler.at(at, f"{edge.name} budget", lambda e=edge, s=share: squeeze(e, s))
            for _ in range(READS):
                at = EPOCH_MS + draw.randrange(1_000, self.length_ms)
                kind, _ = draw.choice(places)
                id = "today" if kind == "Ledger" else draw.choice(SKUS)
                document = DocumentId(kind, draw.choice(edge.scopes), id)
                promise = draw.choice(PROMISES)
                self.scheduler.at(at, f"{edge.name} reader", lambda e=edge, d=document, p=promise: read(e, d, p))
        return super()._run()

    def _heal(self) -> None:
        super()._heal()
        for edge in self.edges.values():
            squeeze(edge, 0.0)

    def unrest(self) -> str:
        return super().unrest() or ", ".join(self._fetched())

    def _fetched(self) -> Iterator[str]:
        """Have all of it fetched again."""
        for edge in self.edges.values():
            evicted = [] if edge.process is None else list(edge.process.evicted())
            for document in evicted:
                read(edge, document, Promise())
            if evicted:
                yield f"{edge.name} has {len(evicted)} documents evicted"


def squeeze(edge: EdgeNode, share: float) -> None:
    """From now on a disk may take so much of what it takes."""
    edge.budget = int(share * sum(family.size for family in edge.disk.families.values()))
    if edge.process is not None:
        edge.process.squeeze()


def read(edge: EdgeNode, document: DocumentId, promise: Promise) -> None:
    """Somebody asks the agent, if it runs."""
    if edge.process is not None:
        edge.process.read(document, promise)


@contextmanager
def watched(world: World) -> Iterator[None]:
    """Count what only production meets, and see that nothing goes on which changes wait."""
    evict, absent, back = Eviction.evict, States._absent, Refetch._back

    def evicts(self: Eviction, rows: Iterable[bytes]) -> dict[Place, bytes | None]:
        writes = evict(self, rows)
        for family, row in writes:
            if family is Family.CONFIRMED:
                world.history.situation(EVICTED)
                if next(marks_of(self._journal, keys.document_of_confirmed(row)), None) is not None:
                    world.history.crashes.append(f"{row!r} was evicted, and changes of it wait to be sent")
        return writes

    def comes(
        self: States, record: Record, document: DocumentId, codec: Any, incoming: Any, marker: Marker, landing: Landing
    ) -> None:
        there = incoming is not None and codec.collection.document.exists(incoming)
        world.history.situation(CHANGED if there else DELETED)
        absent(self, record, document, codec, incoming, marker, landing)

    def comes_back(self: Refetch, found: Mapping[bytes, Record]) -> dict[Place, bytes | None]:
        world.history.situation(FETCHED, len(found))
        return back(self, found)

    with ExitStack() as stack:
        stack.enter_context(patch.object(config, "LEAST_BUDGET", 1))
        stack.enter_context(patch.object(budget, "LOOK_SECONDS", LOOK_SECONDS))
        stack.enter_context(patch.object(Eviction, "evict", evicts))
        stack.enter_context(patch.object(States, "_absent", comes))
        stack.enter_context(patch.object(Refetch, "_back", comes_back))
        yield


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and how much of it there was."""
    world = SmallDisksWorld(seed, variant)
    with watched(world):
        history = world.run()
    for told in history.reads:
        history.situation(SAID, told.code == "evicted")
    try:
        return broken(Case(history)), history.situations
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


class EvictsWhatWaits(Eviction):
    """Planted: whatever is used seldom goes, also what nobody else has."""

    def _free(self, key: bytes, wanted: Collection[bytes]) -> bool:
        return True


class PassesOverChanges(States):
    """Planted: what comes of an evicted document is passed over, it is not here after all."""

    def _absent(self, *_: Any) -> None: ...


class PassesOverDeletions(States):
    """Planted: the same of deletions alone."""

    def _absent(
        self, record: Record, document: DocumentId, codec: Any, incoming: Any, marker: Marker, landing: Landing
    ) -> None:
        if incoming is not None and codec.collection.document.exists(incoming):
            super()._absent(record, document, codec, incoming, marker, landing)


PLANTED = (
    Variant("evicts what waits", planted=(("driftlog_edge.assembly.Eviction", EvictsWhatWaits),), shows=8),
    Variant(
        "changes of what is evicted are passed over",
        planted=(("driftlog_edge.incoming.puller.States", PassesOverChanges),),
        shows=8,
    ),
    Variant(
        "deletions of what is evicted are passed over",
        planted=(("driftlog_edge.incoming.puller.States", PassesOverDeletions),),
        shows=9,
    ),
)
