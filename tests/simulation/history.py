"""What happened in one run, as values: recorded while it happens, judged afterwards (see `judge`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from driftlog_schemas.devices import Device
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ChainRow, Conflict
from tests.simulation.log import LogRecord

Place: TypeAlias = tuple[str, int]
"""A space by its name on the wire, and one of its partitions."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A command as its user meant it."""

    edge: str
    command_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An edge said: it is done (durably)."""

    at_ms: int
    edge: str
    command_id: str
    replica: str
    """the life that wrote it"""


@dataclass(frozen=True, slots=True)
class Known:
    """What an edge knew of its commands after a restart."""

    at_ms: int
    edge: str
    commands: frozenset[str]


@dataclass(frozen=True, slots=True)
class Cut:
    """An edge showed its readers something new: the documents that changed, with their version vectors.

    `catching_up`: compaction had removed records in between, so that no consistent cut could be had.
    """

    at_ms: int
    edge: str
    catching_up: bool
    vectors: Mapping[DocumentId, Mapping[str, int]]
    restart: bool = False
    """All that the agent's disk held when it started: from here on it counts anew."""
    left: frozenset[DocumentId] = frozenset()
    """What only goes up and has left: readers are told that, and what comes of it later counts anew."""


class Listed(NamedTuple):
    """A person saw a command on the review list of an edge."""

    at_ms: int
    edge: str
    command_id: str
    code: str


class Decided(NamedTuple):
    """A person's word on such a command was taken."""

    at_ms: int
    edge: str
    command_id: str
    applied: bool
    """Else it was dropped."""


class Promise(NamedTuple):
    """What a reader wants to be sure of."""

    strong: bool = False
    max_age: float | None = None
    """In seconds."""


class Read(NamedTuple):
    """What an edge told of a document."""

    asked_ms: int
    at_ms: int
    edge: str
    document: DocumentId
    promise: Promise
    code: str
    """Why there was nothing to be told; else empty."""
    vector: Mapping[str, int] | None
    merged: bytes | None
    """The merge encoding of what was told, where no change of that edge waited on it."""
    shown: Mapping[str, int] = MappingProxyType({})
    """What this life of the edge had shown of it before."""


@dataclass(frozen=True, slots=True)
class StoreWrite:
    """A worker's store took a state; `published` is the end offset of the state topic's partition at that moment."""

    at_ms: int
    worker: str
    place: Place
    key: bytes
    value: bytes
    published: int


@dataclass(frozen=True, slots=True)
class Restored:
    """An edge's disk was set back to an older copy: what was answered between was forgotten by it."""

    edge: str
    taken_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class EdgeEnd:
    """How an edge stood at the end."""

    confirmed: Mapping[DocumentId, bytes]
    """the merge encoding of every confirmed document"""
    status: Mapping[str, tuple[str, str]]
    """command id -> (status, code of its rejection)"""
    pending: int
    outbox: int
    cursors: Mapping[int, int]
    differing: tuple[str, ...] = ()
    """scopes whose digest is not what the cloud told of it"""
    mismatches: int = 0
    """how many were found to differ in its last life"""


@dataclass(slots=True)
class History:
    """One run. Lists in the order of happening."""

    seed: int
    devices: dict[str, Device] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    refusals: list[tuple[int, str, str, str]] = field(default_factory=list)
    """(time, edge, command id, code): said no on the edge; no effect anywhere"""
    known: list[Known] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    dropping: set[str] = field(default_factory=set)
    """Commands that a person has dropped somewhere, whether that was answered or not."""
    restored: list[Restored] = field(default_factory=list)
    store_writes: list[StoreWrite] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    """exceptions that ended a process and were not planned"""

    # The log at the end.
    ops: dict[Place, Sequence[LogRecord]] = field(default_factory=dict)
    """In the order in which the space has been in them."""
    states: dict[Place, Sequence[LogRecord]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    told_now: set[str] = field(default_factory=set)
    """Conflicts of which something is told where the space is now."""
    withdrawn: set[str] = field(default_factory=set)
    """Conflicts of which a tombstone is the last record: nobody has the writes that they name."""
    rows: list[ChainRow] = field(default_factory=list)
    removed: set[tuple[str, Place]] = field(default_factory=set)
    """Replicas whose row is gone, with where it was."""
    parked_left: int = 0
    quiet: bool = False
    """Everything came to rest within the time allowed after the network healed."""
    unrest: str = ""
    ends: dict[str, EdgeEnd] = field(default_factory=dict)
    trace_hash: str = ""
    events: int = 0
    situations: Counter[str] = field(default_factory=Counter)
    """What was met, and how often; for the table of what the worlds cover."""

    def forgotten(self, answer: Answer) -> bool:
        """Was it answered on a disk that was then set back to before?"""
        return any(r.edge == answer.edge and r.taken_ms <= answer.at_ms <= r.at_ms for r in self.restored)

    def situation(self, name: str, times: int = 1) -> None:
        """It happened."""
        self.situations[name] += times
