"""The merge once more, slow and plain: what the op topic means, by the words of the design alone.

It keeps every op it has accepted and computes each value from the ops' partial order, op against op; it shares no code with the
merge worker, the algebra's states, the cache or the parking. What it shares is the reading of bytes (the codecs) and the
declaration of the app. Its answer is what every edge, the state topic, the receipts and the conflicts are compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftlog_crdt import Op
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, decode_body
from driftlog_schemas.devices import Device
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import conflict_id
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import verify
from tests.simulation.app import PARTITIONS, SPACE
from tests.simulation.log import LogRecord

REPEATED = "repeated"
RUN_AGAIN = ("builds_on_refused", "purged")
CLOCK_BOUND_MS = 5 * 60 * 1000

Dot = tuple[str, int]


@dataclass(slots=True)
class Document:
    """One document: its accepted ops in order of merging, and how far each replica was seen."""

    policy: str
    """What a delete does to concurrent ops."""
    ops: list[Op] = field(default_factory=list)
    origins: dict[Dot, tuple[str, str, int, int]] = field(default_factory=dict)
    """op -> command id, actor, when it was appended, how many changes its writer had seen"""
    seen: dict[str, int] = field(default_factory=dict)
    rejected: list[Op] = field(default_factory=list)

    def of(self, field_name: str) -> list[Op]:
        return [op for op in effective(self.ops, self.policy) if op.field == field_name]

    def total(self, field_name: str) -> int:
        return sum(op.value if op.kind == "increment" else -op.value for op in self.of(field_name))  # type: ignore[operator, misc]


@dataclass(slots=True)
class Decision:
    """What became of a command. `verdict` is accepted, rejected or parked."""

    command: Command
    replica: str
    offset: int
    verdict: str
    code: str = ""


@dataclass(slots=True)
class ExpectedConflict:
    """A place where differing writes have met: which pairs of them ever did, and the writes that compete there in the end."""

    id: str
    document: DocumentId
    field: str
    pairs: set[frozenset[Dot]] = field(default_factory=set)
    standing: frozenset[Dot] = frozenset()


@dataclass(slots=True)
class Chain:
    """The batches of one replica in one partition that were taken, by number."""

    digests: dict[int, bytes] = field(default_factory=dict)
    commands: dict[int, list[str]] = field(default_factory=dict)
    ended: bool = False

    def takes(self, batch: Batch, digest: bytes) -> bool:
        """Is this the next one, or one that was taken before?"""
        number = batch.number
        if number in self.digests:
            return self.digests[number] == digest
        if self.ended:
            return False
        if not self.digests and number > max(batch.floor, 1):
            return False
        if self.digests:
            last = max(self.digests)
            if number != last + 1 or batch.prev != self.digests[last]:
                return False
        self.digests[number] = digest
        self.commands[number] = [command.id for command in batch.commands]
        return True


@dataclass(slots=True)
class _Waiting:
    command: Command
    replica: str
    append_ms: int
    offset: int


class Reference:
    """The meaning of one space's op topic."""

    def __init__(self, devices: Mapping[str, Device], ids: SchemaIds) -> None:
        self._devices = devices
        self._codec = BatchCodec(ids)
        self.documents: dict[DocumentId, Document] = {}
        self.decisions: dict[tuple[str, str], Decision] = {}
        """(replica, command id) -> decision"""
        self.conflicts: dict[str, ExpectedConflict] = {}
        self.refused_batches: list[int] = []
        self.chains: dict[tuple[str, int], Chain] = {}
        """(replica, partition) -> its chain"""
        self.brought: dict[tuple[str, str], Decision] = {}
        """(life in which it was first written, command id) -> what became of it when a later life brought it first"""
        self.repeated = 0
        """Commands that came again."""

    def fold(self, records: Iterable[LogRecord]) -> None:
        """Take one partition's op records, all of them, in order."""
        waiting: dict[tuple[str, str], _Waiting] = {}
        for record in records:
            for command, replica in self._open(record):
                item = _Waiting(command, replica, record.timestamp_ms, record.offset)
                if not self._decide(item):
                    waiting.setdefault((replica, command.id), item)
            while (key := next((k for k, item in waiting.items() if self._decide(item)), None)) is not None:
                del waiting[key]
        for item in waiting.values():
            key = (item.replica, item.command.id)
            self.decisions.setdefault(key, Decision(item.command, item.replica, item.offset, "parked"))

    def _open(self, record: LogRecord) -> list[tuple[Command, str]]:
        try:
            signed = self._codec.open(record.value or b"")
            device = self._devices.get(signed.device_id)
            key = device.key_at(signed.key_id, record.timestamp_ms) if device else None
            if key is None or not verify(key.public, signed.signature, signed.body):
                raise Undecodable("forged")
            batch = decode_body(signed.body)
        except Undecodable:
            self.refused_batches.append(record.offset)
            return []
        chain = self.chains.setdefault((batch.replica, batch.partition), Chain())
        if not chain.takes(batch, batch_digest(signed.body)):
            return []
        for life in batch.ends:
            self.chains.setdefault((life, batch.partition), Chain()).ended = True
        return [(command, batch.replica) for command in batch.commands]

    def _decide(self, item: _Waiting) -> bool:
        command = item.command
        fresh = [(d, op) for d, op in command.ops if self._document(d).seen.get(op.replica, 0) < op.seq]
        if not fresh:
            self.repeated += 1
            return True
        assert len(fresh) == len(command.ops), f"command {command.id} is half merged in a fold without crashes"
        reached: dict[tuple[DocumentId, str], int] = {}
        for document, op in command.ops:
            seen = self._document(document).seen
            last = reached.get((document, op.replica), seen.get(op.replica, 0))
            if op.seq != last + 1 or any(seen.get(r, 0) < s for r, s in (op.context or {}).items()):
                return False
            reached[document, op.replica] = op.seq
        first = self._brought_before(item)
        if first is not None:
            self._repeat(item, first)
            return True
        code = self._objection(item)
        for document, op in command.ops:
            self._document(document).seen[op.replica] = op.seq
        verdict = "accepted"
        if not code:
            idle = [self._merge(document, op, item) for document, op in command.ops]
            if any(idle):
                verdict = code = "no_effect"
        else:
            verdict = "rejected"
            for document, op in command.ops:
                self._document(document).rejected.append(op)
        self.decisions[item.replica, command.id] = Decision(command, item.replica, item.offset, verdict, code)
        if command.root and code not in RUN_AGAIN:
            self.brought[command.root, command.id] = self.decisions[item.replica, command.id]
        return True

    def _brought_before(self, item: _Waiting) -> Decision | None:
        """What became of a command of an earlier life when another life brought it."""
        command = item.command
        if not command.root:
            return None
        root = self.chains.get((command.root, partition_of(command.scope, PARTITIONS)))
        assert root is not None and root.ended, f"{command.id} comes while {command.root} may still send it"
        return self.brought.get((command.root, command.id))

    def _repeat(self, item: _Waiting, first: Decision) -> None:
        """It counts as seen; it has counted before."""
        for document, op in item.command.ops:
            self._document(document).seen[op.replica] = op.seq
            self._document(document).rejected.append(op)
        place = (item.replica, item.command.id)
        self.decisions[place] = Decision(item.command, item.replica, item.offset, first.verdict, REPEATED)

    def _objection(self, item: _Waiting) -> str:
        terms = self._devices[item.replica.rpartition(".")[0]].latest
        command = item.command
        if command.scope not in terms.scopes or command.name not in terms.permissions:
            return "forbidden"
        for document in dict.fromkeys(d for d, _ in command.ops):
            if document.collection != "Stock":
                continue
            after = self._document(document).total("on_hand") + sum(
                op.value if op.kind == "increment" else -op.value  # type: ignore[operator, misc]
                for d, op in command.ops
                if d == document and op.field == "on_hand"
            )
            if after < 0:
                return "recount"
        return ""

    def _merge(self, document: DocumentId, op: Op, item: _Waiting) -> bool:
        """Is it without effect, because a delete that it had not seen has taken it?"""
        append_ms, command = item.append_ms, item.command
        if (op.hlc >> 16) > append_ms + CLOCK_BOUND_MS:
            op = op._replace(hlc=append_ms << 16)
        state = self._document(document)
        state.ops.append(op)
        seen = sum((op.context or {}).values()) + op.seq - 1
        state.origins[op.replica, op.seq] = (command.id, command.actor, append_ms, seen)
        if op.kind == "set":
            standing = surviving(state.of(op.field))
            for other in standing if op in standing else ():
                if _text(op.value) != _text(other.value):
                    self._expect(document, op, other)
        return state.policy == "delete-wins" and op.kind != "delete" and op not in effective(state.ops, state.policy)

    def _expect(self, document: DocumentId, op: Op, other: Op) -> None:
        if _policy(document, op.field) != "silent":
            identifier = conflict_id(document, op.field)
            expected = self.conflicts.setdefault(identifier, ExpectedConflict(identifier, document, op.field))
            expected.pairs.add(frozenset({(op.replica, op.seq), (other.replica, other.seq)}))

    def settle(self) -> None:
        """Say what competes at each place now that everything was folded."""
        for conflict in self.conflicts.values():
            alive = surviving(self._document(conflict.document).of(conflict.field))
            if len({_text(op.value) for op in alive}) > 1:
                conflict.standing = frozenset((op.replica, op.seq) for op in alive)

    def _document(self, document: DocumentId) -> Document:
        policy = SPACE.collections[document.collection].document.on_delete
        return self.documents.setdefault(document, Document(policy))

    def merge_text(self, document: DocumentId) -> str:
        """The canonical encoding that the document must have everywhere."""
        return self.merge_text_at(document, self.documents[document].seen)

    def merge_text_at(self, document: DocumentId, vector: Mapping[str, int]) -> str:
        """The encoding of just the ops that `vector` covers."""
        covered = [op for op in self._document(document).ops if op.seq <= vector.get(op.replica, 0)]
        ops = effective(covered, self._document(document).policy)
        fields = {}
        for name, declared in SPACE.collections[document.collection].document.fields.items():
            encoded = _ENCODERS[declared.type.name]([op for op in ops if op.field == name])
            if _policy(document, name) != "silent":
                origins = self._document(document).origins
                encoded = [[*write, list(origins[write[0], write[1]])] for write in encoded]
            if encoded:
                fields[name] = encoded
        extra = {}
        if deletes := [op for op in covered if op.kind == "delete"]:
            extra["grave"] = latest(deletes)
        if latest(ops) != vector:
            extra["presence"] = latest(ops)
        rejected = [op for op in self._document(document).rejected if op.seq <= vector.get(op.replica, 0)]
        if unknown := not_known_to_their_writers(covered, rejected, self._document(document).policy):
            extra["refused"] = unknown
        return _text([2, dict(vector), fields, *([extra] if extra else [])])


def _policy(document: DocumentId, field_name: str) -> str:
    return SPACE.collections[document.collection].document.fields[field_name].on_conflict


def effective(ops: Sequence[Op], policy: str) -> list[Op]:
    """The writes that no delete has taken."""
    deletes = [op for op in ops if op.kind == "delete"]
    writes = [op for op in ops if op.kind != "delete"]
    if policy == "delete-wins":
        return [w for w in writes if all(sees(w, delete) for delete in deletes)]
    return [w for w in writes if not any(sees(delete, w) for delete in deletes)]


def not_known_to_their_writers(
    accepted: Sequence[Op], rejected: Sequence[Op], policy: str
) -> dict[str, list[list[Any]]]:
    """replica -> runs of its rejected ops, as [first, last, would they have emptied the document], that no op of it has answered."""
    runs: dict[str, list[list[Any]]] = {}
    for op in sorted(rejected, key=lambda op: op.seq):
        own = [other for other in (*accepted, *rejected) if other.replica == op.replica]
        if any(other.seq - 1 - other.unsure >= op.seq for other in own):
            continue
        of_replica = runs.setdefault(op.replica, [])
        emptied = op.kind == "delete" and policy == "delete-wins"
        if not of_replica or of_replica[-1][1:] != [op.seq - 1, emptied]:
            of_replica.append([op.seq, op.seq, emptied])
        of_replica[-1][1] = op.seq
    return runs


def latest(ops: Iterable[Op]) -> dict[str, int]:
    """replica -> its highest seq among these"""
    found: dict[str, int] = {}
    for op in ops:
        found[op.replica] = max(op.seq, found.get(op.replica, 0))
    return found


def sees(later: Op, earlier: Op) -> bool:
    """Had the writer of `later` seen `earlier`?"""
    if later.replica == earlier.replica:
        return later.seq > earlier.seq
    return (later.context or {}).get(earlier.replica, 0) >= earlier.seq


def surviving(writes: Sequence[Op]) -> list[Op]:
    """Those that no other one has seen."""
    return [w for w in writes if not any(sees(other, w) for other in writes)]


def _counter(ops: Sequence[Op]) -> Any:
    replicas = {op.replica for op in ops}
    return {
        r: [sum(o.value for o in ops if o.replica == r and o.kind == kind) for kind in ("increment", "decrement")]  # type: ignore[misc]
        for r in replicas
    }


def _register(ops: Sequence[Op]) -> Any:
    return sorted([op.replica, op.seq, op.hlc, op.value] for op in surviving(ops))


def _set(ops: Sequence[Op]) -> Any:
    elements: dict[str, Any] = {}
    for add in ops:
        same = [o for o in ops if _text(o.value) == _text(add.value)]
        if add.kind == "add" and not any(o.kind == "remove" and sees(o, add) for o in same):
            last = max(o.seq for o in same if o.kind == "add" and o.replica == add.replica)
            elements.setdefault(_text(add.value), [add.value, {}])[1][add.replica] = last
    return [elements[key] for key in sorted(elements)]


_ENCODERS = {"counter": _counter, "register": _register, "add_wins_set": _set}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
