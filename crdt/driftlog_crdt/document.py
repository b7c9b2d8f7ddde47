"""A document: named fields under one version vector.

The vector is the document's memory of what it has merged, and everything about order is decided here, once for all
fields. An op is a *duplicate* when the vector covers its dot, a *gap* when its predecessor or something in its context
is missing, and otherwise it is applied and its dot enters the vector. A refused op also enters the vector, without
effect (`see`): all replicas then agree that it happened and did nothing.

Must never happen: an op applied twice; an op skipped; a state that depends on arrival order.

An encoding is canonical JSON, `[1, vector, fields, ...]`, so that any tool can look at it; equal states give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, TypeAlias

from driftlog_crdt.causal import joined
from driftlog_crdt.errors import BadEncoding, BadOperation, TooLarge
from driftlog_crdt.field_type import NO_WRITES, FieldType, Write
from driftlog_crdt.ops import DOCUMENT, Op
from driftlog_crdt.plain import Plain, canonical

FORMAT = 1
DEFAULT_MAX_BYTES = 64 * 1024

OnConflict: TypeAlias = Literal["silent", "record", "review"]
DeletePolicy: TypeAlias = Literal["delete-wins", "update-wins"]


class Outcome(Enum):
    """What became of an op."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    GAP = "gap"


class Applied(NamedTuple):
    """The outcome, and the writes of the op's field that are in conflict with it."""

    outcome: Outcome
    beside: tuple[Write, ...] = NO_WRITES


_APPLIED = Applied(Outcome.APPLIED)
_DUPLICATE = Applied(Outcome.DUPLICATE)
_GAP = Applied(Outcome.GAP)


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field: its type, and what is done about conflicts. `deadline_ms` 0 means none."""

    type: FieldType[Any]
    on_conflict: OnConflict = "silent"
    deadline_ms: int = 0


class DocumentState:
    """What has been merged of one document. Owned by whoever made it; change it only through `DocumentType`."""

    __slots__ = ("fields", "vector")

    def __init__(self, vector: dict[str, int] | None = None, fields: dict[str, Any] | None = None) -> None:
        self.vector: dict[str, int] = {} if vector is None else vector
        self.fields: dict[str, Any] = {} if fields is None else fields
        """Only fields that an op has touched."""


@dataclass(frozen=True, slots=True)
class DocumentType:
    """The merge rules of one collection."""

    name: str
    fields: Mapping[str, Field]
    on_delete: DeletePolicy = "delete-wins"
    max_bytes: int = DEFAULT_MAX_BYTES

    def new(self) -> DocumentState:
        """The state before any op."""
        return DocumentState()

    def prepare(self, state: DocumentState, replica: str, hlc: int, field: str, kind: str, value: Plain) -> Op:
        """The next op of `replica` on a document whose writer sees `state`. Raises what `check` raises."""
        seq = state.vector.get(replica, 0) + 1
        context: dict[str, int] | None = None
        if field == DOCUMENT or kind in self._field(field).type.contextual:
            context = {r: s for r, s in state.vector.items() if r != replica}
        op = Op(replica, seq, hlc, field, kind, value, context)
        self.check(op)
        return op

    def check(self, op: Op) -> None:
        """Raise `BadOperation` or `BadValue` if no state of this type can take `op`."""
        if op.seq < 1:
            raise BadOperation(op.field, f"seq {op.seq}: the first op of a replica has seq 1")
        if op.context is not None and op.context.get(op.replica, 0) >= op.seq:
            raise BadOperation(op.field, "the context holds more than the op's own predecessor")
        self._field(op.field).type.check(op)

    def apply(self, state: DocumentState, op: Op) -> Applied:
        """Merge one checked op into `state`, in place. A gap or a duplicate changes nothing."""
        vector = state.vector
        replica, seq = op.replica, op.seq
        seen = vector.get(replica, 0)
        if seq <= seen:
            return _DUPLICATE
        if seq > seen + 1 or (op.context and not self.ready(state, op)):
            return _GAP
        kind = self.fields[op.field].type
        field = state.fields.get(op.field)
        if field is None:
            field = state.fields[op.field] = kind.new()
        beside = kind.apply(field, op)
        vector[replica] = seq
        return Applied(Outcome.APPLIED, beside) if beside else _APPLIED

    def ready(self, state: DocumentState, op: Op) -> bool:
        """Has the document merged all that the op's writer had seen, and the op's predecessor?"""
        get = state.vector.get
        if op.seq > get(op.replica, 0) + 1:
            return False
        return all(get(replica, 0) >= seq for replica, seq in (op.context or {}).items())

    def see(self, state: DocumentState, replica: str, seq: int) -> None:
        """Count a refused op as seen, without effect."""
        assert state.vector.get(replica, 0) + 1 == seq, "a refused op is seen in its order"
        state.vector[replica] = seq

    def join(self, left: DocumentState, right: DocumentState) -> DocumentState:
        """The state of both sides' ops; arguments stay as they are."""
        fields: dict[str, Any] = {}
        for name in left.fields.keys() | right.fields.keys():
            kind = self.fields[name].type
            merged = kind.join(
                left.fields[name] if name in left.fields else kind.new(),
                left.vector,
                right.fields[name] if name in right.fields else kind.new(),
                right.vector,
            )
            fields[name] = merged
        return DocumentState(joined(left.vector, right.vector), fields)

    def exists(self, state: DocumentState) -> bool:
        """Is there a document to read: written at least once and not deleted?"""
        return bool(state.fields)

    def deleted(self, state: DocumentState) -> bool:
        """Was it there, and is it deleted now?"""
        return False

    def field_value(self, state: DocumentState, field: str) -> Plain:
        """The plain value of one field; of its new state where no op has touched it."""
        kind = self._field(field).type
        stored = state.fields.get(field)
        return kind.value(kind.new() if stored is None else stored)

    def values(self, state: DocumentState) -> dict[str, Plain]:
        """The plain value of every declared field."""
        return {name: self.field_value(state, name) for name in self.fields}

    def copy(self, state: DocumentState) -> DocumentState:
        """An independent copy."""
        types = self.fields
        return DocumentState(
            dict(state.vector), {name: types[name].type.copy(field) for name, field in state.fields.items()}
        )

    def encode(self, state: DocumentState) -> bytes:
        """The canonical bytes of a state. Raises `TooLarge` over the size guard."""
        fields: dict[str, Plain] = {}
        for name, stored in state.fields.items():
            kind = self.fields[name].type
            if not kind.is_new(stored):
                fields[name] = kind.encode(stored)
        data = canonical([FORMAT, dict(state.vector), fields]).encode()
        if len(data) > self.max_bytes:
            raise TooLarge("", f"{self.name}: {len(data)} bytes of state, at most {self.max_bytes} are declared")
        return data

    def decode(self, data: bytes) -> DocumentState:
        """The state of an encoding. Raises `BadEncoding`."""
        try:
            plain = json.loads(data)
        except ValueError as error:
            raise BadEncoding("", f"{self.name}: not an encoded document: {error}") from error
        match plain:
            case [int(version), dict(vector), dict(fields)] if version == FORMAT:
                pass
            case _:
                raise BadEncoding("", f"{self.name}: not an encoded document of format {FORMAT}")
        state = DocumentState(vector)
        for name, stored in fields.items():
            if name not in self.fields:
                raise BadEncoding(name, f"{self.name} declares no such field")
            state.fields[name] = self.fields[name].type.decode(stored)
        return state

    def _field(self, name: str) -> Field:
        field = self.fields.get(name)
        if field is None:
            raise BadOperation(name, f"{self.name} declares no such field; it has {', '.join(self.fields)}")
        return field
