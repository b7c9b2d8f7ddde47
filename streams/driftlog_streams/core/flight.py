"""The order of effects, as a state machine without I/O.

    FIRST   publish outcomes: urgent chain rows, parked commands, conflicts   -> all delivered
    SECOND  publish states, one group per partition, and the other rows      -> all delivered
    STORE   write states, rows and the changelog position, one batch per partition
    ACK     acknowledge the source records, in order

Why this order: a replayed batch is a duplicate, so what is only in its outcome would be lost if the state reached the
read model first; a store that is never ahead of the read model needs no republication; and what is acknowledged is never
seen again. At most `LIMIT` flights are under way; none starts a stage before the flight ahead of it has started (for
publishing, which keeps the producer's order) or finished (for writing and acknowledging) the same one.

Must never happen: a state on the wire while an outcome of its flight or an earlier one is not delivered; nor calls of a reaction while earlier ones
to the same partition are not. These are known by their position (`calls`), so one that was lost would be a repetition behind a later one that
was not, and never come: a leader that is only just made may refuse one record of a producer and take the next, and a queue may let the older one expire.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from driftlog_schemas import groups
from driftlog_streams.core.conflict_pace import NOTHING_OWED, Owing
from driftlog_streams.core.conflicts import first_due, names
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.rules import MAX_RECORD_BYTES, SpaceRules
from driftlog_streams.core.scope_digests import Digested, ScopeDigests, SealedState, sealed_state
from driftlog_streams.core.work import OutRecord, PartitionWork, out_record

LIMIT = 4
NO_DIGESTS = Digested((), {}, {})
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
    """One partition's part: what to publish, what to write to its store, and what to acknowledge."""

    partition: int
    outcomes: list[OutRecord]
    states: list[OutRecord]
    writes: list[tuple[bytes, bytes | None]]
    rows: list[tuple[str, bytes | None]]
    sources: list[Any]
    work: PartitionWork
    sent: Mapping[str, int]
    """How many records it publishes, by topic."""
    passed: Passed = field(default_factory=Passed)
    """What is deleted here, or gone."""
    digested: Digested = NO_DIGESTS
    """What it means for the digests of its scopes; of the documents in the order of `writes`."""
    owing: Owing = NOTHING_OWED
    """Since which flight conflicts are owed."""
    last: dict[str, int] = field(default_factory=dict)
    """Where each topic has the last of them, as far as they are delivered."""
    calls: Sequence[OutRecord] = ()
    """Those of the outcomes that reactions call for, in order."""

    def delivered(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """A stage's last offsets, by topic and partition."""
        for topic in self.sent:
            at = offsets.get((topic, self.partition), -1)
            self.last[topic] = max(at, self.last.get(topic, -1))


@dataclass(slots=True)
class Flight:
    """Everything that leaves together."""

    partitions: list[PartitionFlight]
    stage: Stage = Stage.FIRST
    started: bool = False

    def records(self, stage: Stage) -> list[OutRecord]:
        """What a stage publishes."""
        if stage is Stage.FIRST:
            return [record for part in self.partitions for record in part.outcomes]
        return [record for part in self.partitions for record in part.states]

    @property
    def calls(self) -> bool:
        """Do reactions call for something?"""
        return any(part.calls for part in self.partitions)

    def rounds(self, stage: Stage) -> list[list[OutRecord]]:
        """What a stage publishes, in parts: each waits until the one before is delivered. Of calls that go from one partition to one other there is one
        record in each.
        """
        late: dict[int, int] = {}
        if stage is Stage.FIRST:
            for part in self.partitions:
                places: Counter[int] = Counter()
                for call in part.calls:
                    late[id(call)] = places[call.partition]
                    places[call.partition] += 1
        rounds: list[list[OutRecord]] = [[] for _ in range(max(late.values(), default=0) + 1)]
        for record in self.records(stage):
            rounds[late.get(id(record), 0)].append(record)
        return rounds

    def urgent(self) -> set[str]:
        """Replicas whose row is among the outcomes."""
        return {replica for part in self.partitions for replica in part.work.urgent}

    def plain(self) -> set[str]:
        """Replicas whose row travels with the states."""
        return {replica for part in self.partitions for replica in part.work.rows.keys() - part.work.urgent}

    @property
    def ops(self) -> int:
        return sum(part.work.ops for part in self.partitions)


class Effect(NamedTuple):
    """Do the flight's present stage; call `FlightDeck.finished` when it is done."""

    flight: Flight
    stage: Stage


class Oversized(Exception):
    """A record that no broker takes."""


def seal(
    rules: SpaceRules,
    work: PartitionWork,
    conflicts: Sequence[OutRecord] = (),
    digests: ScopeDigests | None = None,
    owed: Container[bytes] = (),
) -> PartitionFlight:
    """One partition's part of a flight; each changed document is encoded once. Nothing of `work` is changed, whatever is raised.

    `owed` are keys of documents of which a conflict is not told as it stands.
    """
    receipts = rules.topics.receipts
    outcomes, group = [*work.carried, *work.outcomes, *conflicts], _encoded(work)
    digested = NO_DIGESTS if digests is None else digests.after(group)
    due = {
        key: first
        for key, entry, value, _, _ in group
        if value is not None and entry.collection.timed and (first := first_due(entry.collection, entry.state))
    }
    disputes = _disputes(work, group)
    fought = {key for key, found in disputes.items() if found}
    states = _group(rules.topics.state, work, group, digested.marks, owed, due, fought, rules.supported)
    writes = [(key, value) for key, _, value, _, _ in group]
    passed = Passed(
        {key: work.group for key, _, value, _, deleted in group if deleted and value is not None},
        {key: entry.purged for key, entry, value, _, _ in group if value is None},
        due,
        disputes,
        work.ends,
    )
    encode = rules.records.encode_chain_row
    rows = [(replica, None if row is None else encode(row)) for replica, row in work.rows.items()]
    for replica, value in rows:
        record = OutRecord(receipts, work.partition, replica.encode(), value)
        (outcomes if replica in work.urgent else states).append(record)
    sent: Counter[str] = Counter()
    for topic, _, key, data, _ in (*outcomes, *states):
        if data is not None and len(key) + len(data) > MAX_RECORD_BYTES:
            raise Oversized(f"{topic}: {key[:200]!r} would take {len(data)} bytes")
        sent[topic] += 1
    return PartitionFlight(work.partition, outcomes, states, writes, rows, work.sources, work, sent, passed, digested)


def _encoded(work: PartitionWork) -> list[SealedState]:
    """The changed documents, each as it leaves. What was purged comes first: compaction forgets such a record, and what it says of a scope."""
    gone, group = [], []
    for key, entry in work.dirty.items():
        kind, codec = entry.collection.type, entry.collection.codec
        if kind.blank(entry.state):  # it was purged, and nothing came after that
            gone.append(sealed_state((key, entry, None, b"", False)))
        else:
            group.append(sealed_state((key, entry, *codec.encode_with_version(entry.document, entry.state))))
    return [*gone, *group]


def _disputes(work: PartitionWork, group: Sequence[SealedState]) -> dict[bytes, Collection[bytes]]:
    """The conflicts of each document that has some, or may have had some before."""
    moved = work.again | {key for key, _ in (*work.contested, *work.ended)}
    found: dict[bytes, Collection[bytes]] = {}
    for key, entry, value, _, _ in group:
        there = names(entry.document, entry.collection, entry.state) if value is not None else ()
        if there or value is None or key in moved:
            found[key] = tuple(there)
    return found


def _group(
    topic: str,
    work: PartitionWork,
    group: Sequence[SealedState],
    digests: Mapping[int, tuple[str, bytes]],
    owed: Container[bytes],
    due: Mapping[bytes, int],
    fought: Container[bytes],
    supported: Marks,
) -> list[OutRecord]:
    """The records of a group of states."""
    records: list[OutRecord] = []
    # Tombstones of released commands may go out alone, with nothing merged: then there is no group.
    plain: Marks = groups.headers(work.group, last=False) if group else ()
    partition, end = work.partition, len(group) - 1
    for place, (key, entry, value, _, _) in enumerate(group):
        marks = plain if place < end else [*groups.headers(work.group, last=True), *supported]
        if value is None:
            marks = [*marks, groups.purged(entry.purged)]
        if place in digests:
            marks = [*marks, digests[place]]
        if key in owed:
            marks = [*marks, groups.owed()]
        if key in due:
            marks = [*marks, groups.due(due[key])]
        if key in fought:
            marks = [*marks, groups.disputed()]
        records.append(out_record((topic, partition, key, value, marks)))
    return records


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
        unsaid: set[str] = set()
        """Replicas with a row on a flight ahead that is not on its way: a newer row must not pass it."""
        calling = False
        """Has a flight ahead calls that are not delivered?"""
        for flight in self._flights:
            first = flight.stage is Stage.FIRST
            passes = first and ((calling and flight.calls) or not unsaid.isdisjoint(flight.urgent()))
            if not flight.started and not passes and self._may_start(flight, ahead):
                flight.started = True
                result.append(Effect(flight, flight.stage))
            calling = calling or (first and flight.calls)
            if flight.stage < Stage.SECOND or (flight.stage is Stage.SECOND and not flight.started):
                unsaid |= flight.plain()
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
