"""Situations that leave no trace in a history, counted where production meets them. What is counted runs as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftlog_schemas.messages import CommandOutcome
from driftlog_streams.core.admission import Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decider, Decision
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.refusals import Refusals
from driftlog_streams.core.stored_states import StoredStates

if TYPE_CHECKING:
    from tests.simulation.world import World


def counted(world: World) -> list[tuple[str, Any]]:
    """What stands in for the methods that are watched: name and stand-in."""
    core = "driftlog_streams.core"
    return [
        (f"{core}.stored_states.StoredStates._joined", _joins(world)),
        (f"{core}.decision.Decider._as_before", _half_seen(world)),
        (f"{core}.refusals.Refusals.refuse", _refused_forgeries(world)),
    ]


def _joins(world: World) -> Any:
    honest = StoredStates._joined

    def joined(self: StoredStates, key: bytes, value: bytes, stored: bytes | None) -> bytes:
        if stored is not None and stored != value:
            world.history.situation("recovery joined a late state")
        return honest(self, key, value, stored)

    return joined


def _half_seen(world: World) -> Any:
    """Of a command with several documents a crash has let some out and others not."""
    honest = Decider._as_before

    def as_before(self: Decider, arrival: Arrival, known: CommandOutcome) -> Decision | Blocker:
        decided = honest(self, arrival, known)
        if isinstance(decided, Decision) and 0 < sum(weight > 0 for *_, weight in decided.steps) < len(decided.steps):
            world.history.situation("a command was half seen")
        return decided

    return as_before


def _refused_forgeries(world: World) -> Any:
    """Each counts once, however often a crash has it read again."""
    honest = Refusals.refuse

    def refuse(self: Refusals, refusal: Refusal, offset: int, append_ms: int) -> None:
        honest(self, refusal, offset, append_ms)
        place = self._at.rules.name, self._at.number, offset
        if place in world.forged:
            world.forged.discard(place)
            world.history.situation("a forgery with changes in it was refused")

    return refuse
