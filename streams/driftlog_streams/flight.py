"""The order of effects: a state machine without I/O.

A flight carries what was merged since the last one. Its steps, strictly in this order:

    OUTCOMES   publish rejections, parked commands, conflicts         wait for delivery
    STATES     publish the groups, and the receipts that are all good  wait for delivery
    RELEASES   publish tombstones of parked commands now merged        wait for delivery
    STORE      write states and the changelog position, one batch per partition
    ACK        acknowledge the sources, in order

Why this order. A replayed op is a duplicate as soon as its state is published, so an outcome that is published later could be lost
for ever: outcomes first. The store is written only when the topic has the state, so it is never ahead of its own
changelog and a replayed duplicate needs no republication. A tombstone before its state could lose a parked command. Acknowledged
is only what all this has happened for.

At most `LIMIT` flights are under way. They overlap only in waiting: a flight may publish a step when the one before it
has *sent* the same step (the producer keeps order within a partition), and store or acknowledge when the one before it is done with that.
One failed delivery stops everything: the process must end, and the log is replayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import ClassVar

from driftlog_streams.effects import Record, SealedPart
from driftlog_streams.errors import DeliveryFailed


class Step(Enum):
    """What a flight does next."""

    OUTCOMES = "outcomes"
    STATES = "states"
    RELEASES = "releases"
    STORE = "store"
    ACK = "ack"


PUBLISHING = frozenset({Step.OUTCOMES, Step.STATES, Step.RELEASES})


@dataclass(slots=True)
class Flight:
    """The sealed work of several partitions."""

    number: int
    parts: tuple[SealedPart, ...]
    at: int = 0
    begun: bool = False
    positions: dict[int, int] = field(default_factory=dict)
    """partition -> offset of its last delivered state record"""

    def records(self, step: Step) -> list[Record]:
        """What a publishing step sends."""
        match step:
            case Step.OUTCOMES:
                return list(chain.from_iterable(p.outcomes for p in self.parts))
            case Step.STATES:
                return list(chain(chain.from_iterable(p.states for p in self.parts), chain.from_iterable(p.receipts for p in self.parts)))
            case Step.RELEASES:
                return list(chain.from_iterable(p.releases for p in self.parts))
        return []


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do now. Report it with `FlightDeck.finished` (or `fail`)."""

    flight: Flight
    step: Step
    records: Sequence[Record] = ()


class FlightDeck:
    """Launches flights and says what may happen next."""

    ORDER: ClassVar[tuple[Step, ...]] = (Step.OUTCOMES, Step.STATES, Step.RELEASES, Step.STORE, Step.ACK)
    LIMIT: ClassVar[int] = 4

    def __init__(self) -> None:
        self._flights: deque[Flight] = deque()
        self._number = 0
        self.failure: str | None = None

    @property
    def full(self) -> bool:
        """No further flight may be launched now."""
        return self.failure is not None or len(self._flights) >= self.LIMIT

    @property
    def empty(self) -> bool:
        """Everything launched has been acknowledged."""
        return not self._flights

    def launch(self, parts: Sequence[SealedPart]) -> Flight:
        """Begin a flight. Call only when not `full`."""
        assert not self.full, "the deck is full"
        self._number += 1
        flight = Flight(self._number, tuple(parts))
        self._flights.append(flight)
        return flight

    def next(self) -> Effect | None:
        """The next effect that may begin, oldest flight first; None while all wait. Raises after a failure."""
        if self.failure is not None:
            raise DeliveryFailed(self.failure)
        ahead: Flight | None = None
        for flight in self._flights:
            effect = self._advance(flight, ahead)
            if effect is not None:
                return effect
            ahead = flight
        return None

    def _advance(self, flight: Flight, ahead: Flight | None) -> Effect | None:
        while not flight.begun and self._may_begin(flight, ahead):
            step = self.ORDER[flight.at]
            records = flight.records(step)
            if step in PUBLISHING and not records:
                flight.at += 1  # nothing to say: nothing to wait for
                continue
            flight.begun = True
            return Effect(flight, step, records)
        return None

    def _may_begin(self, flight: Flight, ahead: Flight | None) -> bool:
        if ahead is None or ahead.at > flight.at:
            return True
        return ahead.at == flight.at and ahead.begun and self.ORDER[flight.at] in PUBLISHING

    def finished(self, effect: Effect, positions: Mapping[int, int] | None = None) -> None:
        """The effect is done: delivered (with the last offset of each partition's states), stored, acknowledged."""
        flight = effect.flight
        assert flight.begun and self.ORDER[flight.at] is effect.step, "a step is finished once, after it began"
        if positions:
            flight.positions.update(positions)
        flight.begun = False
        flight.at += 1
        if flight.at == len(self.ORDER):
            first = self._flights.popleft()
            assert first is flight, "flights end in their order"

    def fail(self, reason: str) -> None:
        """A delivery failed: nothing further happens, the process must end."""
        if self.failure is None:
            self.failure = reason

    def clear(self) -> None:
        """Forget all flights (their partitions were revoked; what was not acknowledged is replayed)."""
        self._flights.clear()
