"""A workload from a seed: what many devices would send, as records ready to be produced.

Devices change shared documents; each knows of the others' changes what it saw when it last looked, so that writes are
concurrent, removes miss adds, and contexts point into the past. On request some records are sent again later (a device that
got no answer), and some devices fall behind for a while: then what others have written on their changes has to be parked.

The same seed and start give the same bytes. Nothing is produced here; see `feeder`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from driftlog_crdt import HybridClock, Op
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, encode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import SchemaIds
from tests.load.app import COLLECTION, COUNTER, LABEL, TAGS
from tests.load.expectation import Expectation
from tests.load.fleet import Fleet, replica_of

UNANSWERED = 50
"""So many batches of a device have no receipt, as far as it knows."""
_TAGS = ("red", "green", "blue", "sale", "new")
_LABELS = ("oak", "ash", "elm", "fir", "yew", "box")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the load looks like."""

    space: str
    partitions: int = 8
    keys: int = 3000
    scopes: int = 64
    ops_per_batch: int = 20
    ops_per_command: int = 3
    """At most; each command has one to that many."""
    counters: float = 0.7
    """Share of ops that count; the rest names and tags in equal parts."""
    looks: float = 0.3
    """How often a writer first looks at what the others did."""
    late: float = 0.0
    """Share of records whose device falls behind others."""
    repeated: float = 0.0
    """Share of records that come once more."""
    seed: int = 1
    read: int = -1
    """Up to which op record of its partition each device says that it has read."""


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One record for the op topic."""

    partition: int
    key: bytes
    value: bytes
    ops: int
    replica: str
    number: int


class Workload:
    """An endless source of records; `expectation` grows with them. `keep=False` is for loads that nobody judges."""

    def __init__(self, shape: Shape, fleet: Fleet, ids: SchemaIds, start_ms: int, *, keep: bool = True) -> None:
        self.shape = shape
        self.expectation = Expectation()
        self._keep = keep
        self._fleet = fleet
        self._codec = BatchCodec(ids)
        self._random = random.Random(shape.seed)
        self._now_ms = start_ms
        self._clocks: dict[str, HybridClock] = {replica_of(member): HybridClock() for member in fleet.members}
        self._numbers: dict[tuple[str, int], int] = {}
        self._heads: dict[tuple[str, int], bytes] = {}
        self._made = 0
        self._stopped = False
        self._vectors: dict[DocumentId, dict[str, int]] = {}
        """All that was ever written, by document."""
        self._seen: dict[tuple[str, DocumentId], Mapping[str, int]] = {}
        """What a replica saw when it last looked."""
        self._held: deque[tuple[int, LoadRecord]] = deque()
        self._documents = self._lay_out()

    def _lay_out(self) -> list[list[list[DocumentId]]]:
        """partition -> its scopes -> their documents. Partitions without a scope get no load."""
        shape = self.shape
        scopes: list[list[DocumentId]] = [[] for _ in range(shape.scopes)]
        for number in range(shape.keys):
            scope = number % shape.scopes
            scopes[scope].append(DocumentId(COLLECTION, f"place-{scope}", f"item-{number:06d}"))
        partitions: list[list[list[DocumentId]]] = [[] for _ in range(shape.partitions)]
        for documents in scopes:
            if documents:
                partitions[partition_of(documents[0].scope, shape.partitions)].append(documents)
        return [scopes for scopes in partitions if scopes]

    def records(self, ops: int) -> Iterator[LoadRecord]:
        """Records with at least this many new ops, repeated and late ones included; fewer after `stop`."""
        enough = self._made + ops
        while self._made < enough and not self._stopped:
            yield from self._turn()
        while self._held:
            yield self._held.popleft()[1]

    def stop(self) -> None:
        """Make no more; what was held back still comes."""
        self._stopped = True

    def documents(self) -> Iterator[DocumentId]:
        """All that it may ever write."""
        return (document for scopes in self._documents for documents in scopes for document in documents)

    @property
    def made(self) -> int:
        """How many ops there are so far."""
        return self._made

    def _turn(self) -> Iterator[LoadRecord]:
        record = self._make()
        fate = self._random.random()
        delay = self._random.randint(1, 12)
        # A device sends in order: what it makes while something of it is held back comes behind that.
        ahead = [left for left, held in self._held if _writer(held) == _writer(record) and held.number < record.number]
        if fate < self.shape.late or ahead:
            self._held.append((max([delay, *ahead]), record))
        else:
            yield record
            if fate > 1 - self.shape.repeated:
                self._held.append((delay, record))
        for _ in range(len(self._held)):
            left, held = self._held.popleft()
            if left > 1:
                self._held.append((left - 1, held))
            else:
                yield held

    def _make(self) -> LoadRecord:
        chance, shape = self._random, self.shape
        identity = chance.choice(self._fleet.members)
        scopes = chance.choice(self._documents)
        partition = partition_of(scopes[0][0].scope, shape.partitions)
        self._now_ms += 1
        number = self._numbers.get((replica_of(identity), partition), 0) + 1
        self._numbers[replica_of(identity), partition] = number
        commands: list[Command] = []
        left = shape.ops_per_batch
        while left > 0:
            size = min(left, chance.randint(1, shape.ops_per_command))
            documents = chance.choice(scopes)
            name = f"{replica_of(identity)}-{partition}-{number}-{len(commands)}"
            commands.append(self._command(name, replica_of(identity), documents, size))
            left -= size
        place = replica_of(identity), partition
        floor = max(1, number - UNANSWERED)
        body = encode_body(
            Batch(
                shape.space,
                partition,
                replica_of(identity),
                number,
                tuple(commands),
                "",
                self._heads.get(place, b""),
                floor,
                read=shape.read,
            )
        )
        self._heads[place] = batch_digest(body)
        self._made += shape.ops_per_batch
        return LoadRecord(
            partition,
            identity.device_id.encode(),
            self._codec.seal(body, identity),
            shape.ops_per_batch,
            replica_of(identity),
            number,
        )

    def _command(self, name: str, replica: str, documents: list[DocumentId], size: int) -> Command:
        ops = []
        for _ in range(size):
            document = self._random.choice(documents)
            ops.append(DocumentOp(document, self._op(replica, document)))
        return Command(name, "", documents[0].scope, ops[0].op.hlc, tuple(ops), "load")

    def _op(self, replica: str, document: DocumentId) -> Op:
        chance = self._random
        vector = self._vectors.setdefault(document, {})
        draw, field = chance.random(), COUNTER
        if draw < self.shape.counters:
            kind = "increment" if chance.random() < 0.7 else "decrement"
            value: int | str = chance.randint(1, 9)
        elif draw < (1 + self.shape.counters) / 2:
            field, kind, value = LABEL, "set", chance.choice(_LABELS)
        else:
            field, kind = TAGS, "add" if chance.random() < 0.6 else "remove"
            value = chance.choice(_TAGS)
        context = None
        if field != COUNTER:
            if chance.random() < self.shape.looks:
                self._seen[replica, document] = dict(vector)
            seen = self._seen.get((replica, document), {})
            if kind != "add":
                context = {r: s for r, s in seen.items() if r != replica}
        seq = vector[replica] = vector.get(replica, 0) + 1
        op = Op(replica, seq, self._clocks[replica].tick(self._now_ms), field, kind, value, context)
        if self._keep:
            self.expectation.add(document, op)
        return op


def _writer(record: LoadRecord) -> tuple[str, int]:
    return record.replica, record.partition
