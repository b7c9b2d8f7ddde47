"""The one interface of every mergeable field.

A field type is a value object (parameters such as a bound live in it) that knows how to make, change, join, read
and encode states. States are plain mutable Python containers, so that the hot path allocates nothing it need not.
The laws that every type owes, and that `tests/properties` runs over all of them:

- *causal order is enough*: applying a set of ops in any order that respects per-replica order and contexts gives equal
  states, and equal states encode to equal bytes;
- *join agrees with apply*: for causally closed prefixes A and B, `join(fold(A), fold(B)) == fold(A | B)`;
- `join` is commutative, associative and idempotent;
- `decode(encode(s)) == s`.

The document guards duplicates, gaps and order (see `document`); a field type sees each op once, after its predecessors.
Each type is registered by name in `registry`, so that an encoding can say what it is.

Source: the `riak_dt` behaviour (new, value, update, merge, equal, to_binary) for the shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

from driftlog_crdt.causal import Vector
from driftlog_crdt.errors import BadOperation
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain

S = TypeVar("S")


class Write(NamedTuple):
    """One assignment of a value, as a register keeps it and as a conflict shows it."""

    replica: str
    seq: int
    hlc: int
    value: Plain


NO_WRITES: tuple[Write, ...] = ()


class FieldType(ABC, Generic[S]):
    """Semantics of one declared field; stateless, so one instance serves all documents."""

    name: ClassVar[str]
    """Stable name of the type, as it stands in encodings and schemas."""

    kinds: ClassVar[frozenset[str]]
    """The op kinds this field takes."""

    contextual: ClassVar[frozenset[str]] = frozenset()
    """Those kinds whose ops carry the version vector that the writer had seen."""

    @abstractmethod
    def new(self) -> S:
        """The state before any op."""

    @abstractmethod
    def check(self, op: Op) -> None:
        """Raise `BadOperation` or `BadValue` if `op` cannot be merged, whatever the state. Called before `apply`."""

    @abstractmethod
    def apply(self, state: S, op: Op) -> tuple[Write, ...]:
        """Merge one checked op into `state`, in place.

        Returns the writes that stand beside this one: concurrent with it and of another value. Empty for types
        whose ops commute.
        """

    @abstractmethod
    def join(self, left: S, left_seen: Vector, right: S, right_seen: Vector) -> S:
        """The state of both sides' ops. `*_seen` are the documents' version vectors. Arguments stay as they are."""

    @abstractmethod
    def value(self, state: S) -> Plain:
        """What a reader sees."""

    @abstractmethod
    def encode(self, state: S) -> Plain:
        """The state as a plain value; equal states give equal values, in equal order."""

    @abstractmethod
    def decode(self, plain: Plain) -> S:
        """The state of an encoding. Raises `BadEncoding`."""

    @abstractmethod
    def copy(self, state: S) -> S:
        """An independent copy."""

    @abstractmethod
    def is_new(self, state: S) -> bool:
        """Is this the state before any op (such states are not encoded)?"""

    def require_kind(self, op: Op) -> None:
        """Raise `BadOperation` unless the op's kind is one of ours."""
        if op.kind not in self.kinds:
            raise BadOperation(op.field, f"a {self.name} takes {', '.join(sorted(self.kinds))}, not {op.kind!r}")

    def writes(self, state: S) -> tuple[Write, ...]:
        """The surviving writes, for types that keep them (registers): more than one means concurrency."""
        return NO_WRITES
