"""Which code runs in a world: the project's own, or the same with one decision planted wrong.

A planted bug overrides one decision of the real core; it never is a copy of it. `HONEST` plants nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from driftlog_crdt import Op
from driftlog_edge.incoming.states import States
from driftlog_edge.ports import Record, Writes
from driftlog_edge.store.journal import Journal, Ticket
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.conflict_answers import Ground, OwnersWord
from driftlog_streams.core.decision import Decider
from driftlog_streams.core.flight import Effect, Flight, FlightDeck, Stage
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.survey import Survey
from driftlog_streams.core.trial import Watch


@dataclass(frozen=True)
class Variant:
    """The classes and decisions that a world uses."""

    name: str
    merger: Callable[..., PartitionMerger] = PartitionMerger
    deck: Callable[[], FlightDeck] = FlightDeck
    planted: tuple[tuple[str, Any], ...] = ()
    """(dotted name, what stands there instead), put in place for the life of a world"""
    shows: int = 0
    """Of a planted bug: the seed of a world in which it shows, which is tried first."""


HONEST = Variant("honest")


class DedupesByOffset(Decider):
    """Planted: an op is a duplicate if its record was merged before, by offset; whoever sends it again is believed."""

    first_unmerged = 0

    def _survey(self, arrival: Arrival, rejected: bool) -> Survey:
        if arrival.offset < self.first_unmerged:
            return [], 0, None, None, False
        for document, op in arrival.command.ops:
            collection = self._rules.collections.get(document.collection)
            if collection is not None:
                _unsee(self._cache.get(document, collection).state.vector, op)
        return super()._survey(arrival, rejected)


def _unsee(vector: dict[str, int], op: Op) -> None:
    if op.seq <= vector.get(op.replica, 0):
        vector[op.replica] = op.seq - 1
        if not vector[op.replica]:
            del vector[op.replica]


class MergesByOffset(PartitionMerger):
    """A merger that decides so."""

    def _decider(self, watch: Watch) -> Decider:
        self._by_offset = DedupesByOffset(self._at.rules, self._at.cache, self._at.memory, watch)
        return self._by_offset

    def resume(self, following: int) -> None:
        self._by_offset.first_unmerged = following
        super().resume(following)


class AnswersBeforeTheWrite(Journal):
    """Planted: a caller is answered when its write set is decided, not when it is durable."""

    def stage(self, writes: Writes, *, sync: bool, done: Callable[[Exception | None], None] | None = None) -> Ticket:
        early = done is not None and bool(writes)  # who stages nothing waits for what others have staged
        ticket = super().stage(writes, sync=sync, done=None if early else done)
        if early and done is not None:
            done(None)
        return ticket


class Reordered(FlightDeck):
    """A flight deck that has its stages done in another order."""

    order: ClassVar[tuple[Stage, ...]] = (Stage.FIRST, Stage.SECOND, Stage.STORE, Stage.ACK)

    def effects(self) -> list[Effect]:
        return [Effect(flight, self.order[stage]) for flight, stage in super().effects()]

    def finished(self, flight: Flight, stage: Stage) -> None:
        super().finished(flight, Stage(self.order.index(stage)))


class PublishesStatesFirst(Reordered):
    """Planted: states go out before what became of the rejected."""

    order = (Stage.SECOND, Stage.FIRST, Stage.STORE, Stage.ACK)


class AcknowledgesFirst(Reordered):
    """Planted: the sources are acknowledged, then what they caused is published and stored."""

    order = (Stage.ACK, Stage.FIRST, Stage.SECOND, Stage.STORE)


def lets_it_stand(rules: SpaceRules, key: bytes, value: bytes | None, ground: Ground) -> OwnersWord:
    """Planted: whoever wrote a conflict record last had the last word, the owner says nothing to it."""
    return OwnersWord(None, None)


class DropsRows(States):
    """Planted: of every fifth record of a scope that is held nothing is kept, and nothing is said."""

    dropped = 0

    def _held(self, record: Record, document: DocumentId, landing: Any) -> None:
        self.dropped += 1
        if self.dropped % 5:
            super()._held(record, document, landing)


PLANTED = (
    Variant("dedupe by offset", merger=MergesByOffset),
    Variant("state before outcomes", deck=PublishesStatesFirst, shows=4),
    Variant("worker acks before the write", deck=AcknowledgesFirst, shows=1),
    Variant(
        "admits what it no longer vouches for",
        planted=(("driftlog_streams.registry.device_view.DeviceView.vouches", True),),
        shows=8,
    ),
    Variant(
        "a conflict of somebody else stands",
        planted=tuple(
            (f"driftlog_streams.core.{module}.owners_word", lets_it_stand) for module in ("answers", "restoration")
        ),
        shows=3,
    ),
    Variant("an edge drops rows", planted=(("driftlog_edge.incoming.puller.States", DropsRows),)),
    Variant("edge acks before the write", planted=(("driftlog_edge.opening.Journal", AnswersBeforeTheWrite),), shows=6),
)


def keeps_what_was_purged(*_: Any) -> bool:
    """Planted: an edge takes no record without a value for a purge."""
    return False


def hears_who_lags(*_: Any) -> bool:
    """Planted: a batch is heard although its writer had not read up to the floor."""
    return False


PLANTED_IN_FORGETTING = (
    Variant(
        "an edge keeps what was purged",
        planted=(("driftlog_edge.incoming.states.States._purges", keeps_what_was_purged),),
        shows=1,
    ),
    Variant(
        "who lags behind the floor is heard",
        planted=(("driftlog_streams.core.memory.Memory.lags", hears_who_lags),),
        shows=1,
    ),
)
"""What only a world that forgets can show (see `forgetting`)."""
