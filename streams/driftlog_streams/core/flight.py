"""The order of effects, as a state machine without I/O.

    FIRST   publish outcomes: rejections, parked commands, conflicts      -> all delivered
    SECOND  publish states, one group per partition, and plain receipts   -> all delivered
    STORE   write the states and the changelog position, one batch per partition
    ACK     acknowledge the source records, in order

Why this order: a replayed batch is a duplicate, so what is only in its outcome would be lost if the state reached the
read model first; a store that is never ahead of the read model needs no republication; and what is acknowledged is never
seen again. At most `LIMIT` flights are under way; none starts a stage before the flight ahead of it has started (for
publishing, which keeps the producer's order) or finished (for writing and acknowledging) the same one.

Must never happen: a state on the wire while an outcome of its flight or an earlier one is not delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from driftlog_schemas import groups, topics
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord, PartitionWork

LIMIT = 4
Marks: TypeAlias = Sequence[tuple[str, bytes]]


class Stage(IntEnum):
    """What a flight does, in order."""

    FIRST = 0
    SECOND = 1
    STORE = 2
    ACK = 3
    DONE = 4


@dataclass(slots=True)
class PartitionFlight:
    """One partition's part: what to write to its store, and what to acknowledge."""

    partition: int
    writes: list[tuple[bytes, bytes]]
    sources: list[Any]
    work: PartitionWork
    last_state_offset: int = -1
    """Where the state topic has the group's end; known after SECOND, -1 if it published no state."""


@dataclass(slots=True)
class Flight:
    """Everything that leaves together."""

    outcomes: list[OutRecord]
    states: list[OutRecord]
    partitions: list[PartitionFlight]
    stage: Stage = Stage.FIRST
    started: bool = False
    ops: int = field(default=0)

    def records(self) -> Sequence[OutRecord]:
        """What the present stage publishes."""
        return self.outcomes if self.stage is Stage.FIRST else self.states


class Effect(NamedTuple):
    """Do the flight's present stage; call `FlightDeck.finished` when it is done."""

    flight: Flight
    stage: Stage


def seal(rules: SpaceRules, works: Sequence[PartitionWork]) -> Flight:
    """Turn gathered work into a flight; each changed document is encoded once."""
    outcomes: list[OutRecord] = []
    states: list[OutRecord] = []
    parts: list[PartitionFlight] = []
    topic = topics.state_topic(rules.name)
    ops = 0
    for work in works:
        outcomes += work.outcomes
        writes: list[tuple[bytes, bytes]] = []
        remaining = len(work.dirty)
        # Tombstones of released commands may go out alone, with nothing merged: then there is no group.
        plain: Marks = groups.headers(work.group, last=False) if work.dirty else ()
        for key, entry in work.dirty.items():
            remaining -= 1
            value = entry.collection.codec.encode(entry.document, entry.state)
            entry.size = len(value)
            writes.append((key, value))
            if entry.rejected:
                # Also those of flights under way: if one of them is lost, this record still tells what was decided.
                work.told[key] = entry.tell()
                marks: Marks = groups.headers(work.group, last=not remaining, rejected=entry.rejected)
            else:
                marks = plain if remaining else groups.headers(work.group, last=True)
            states.append(OutRecord(topic, work.partition, key, value, marks))
        states += work.receipts
        parts.append(PartitionFlight(work.partition, writes, work.sources, work))
        ops += work.ops
    return Flight(outcomes, states, parts, ops=ops)


class FlightDeck:
    """Which flight may do what now. Drive it: `add`, then carry out `effects()`, telling `finished` for each."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._flights: deque[Flight] = deque()

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def full(self) -> bool:
        return len(self._flights) >= self._limit

    def add(self, flight: Flight) -> None:
        """Take a sealed flight. The caller waits while the deck is full."""
        assert not self.full, "a flight was added to a full deck"
        self._flights.append(flight)

    def effects(self) -> list[Effect]:
        """What may start now, in order; each is given out once."""
        result: list[Effect] = []
        ahead: Flight | None = None
        for flight in self._flights:
            if not flight.started and self._may_start(flight, ahead):
                flight.started = True
                result.append(Effect(flight, flight.stage))
            ahead = flight
        return result

    def _may_start(self, flight: Flight, ahead: Flight | None) -> bool:
        if ahead is None:
            return True
        if flight.stage <= Stage.SECOND:
            return ahead.stage > flight.stage or (ahead.stage == flight.stage and ahead.started)
        return ahead.stage > flight.stage

    def finished(self, flight: Flight, stage: Stage) -> None:
        """A stage is done: everything it published is delivered, or written, or acknowledged."""
        assert flight.stage == stage and flight.started, f"{stage} finished while at {flight.stage}"
        flight.stage = Stage(stage + 1)
        flight.started = False
        if stage is Stage.STORE:
            for part in flight.partitions:
                part.work.stored()
        while self._flights and self._flights[0].stage is Stage.DONE:
            self._flights.popleft()

    def clear(self) -> None:
        """Drop what is under way: it was not acknowledged and will be replayed."""
        self._flights.clear()
