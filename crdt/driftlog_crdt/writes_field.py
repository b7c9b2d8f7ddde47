"""The shape that all single-value fields share: maximal writes, and a ranking that picks among them.

A register, a ranked field, a multi-value field, a flag and a custom merge keep the same state (see `dotted`) and take the
same ops; they differ in what a reader sees of concurrent writes. So everything but `check` and `value` is here.

Two writes are in conflict while both are maximal and their values differ by canonical text. A write that a later one
has replaced conflicts with nothing: the later one stands for it, having seen it. To report pairs of replaced writes
would need every write ever made, since any of them may turn out to be concurrent with an op still on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from driftlog_crdt import dotted
from driftlog_crdt.causal import Vector
from driftlog_crdt.dotted import Writes
from driftlog_crdt.field_type import Branch, FieldType, Siblings, Write, replaced
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain
from driftlog_crdt.settling import settled_by


class WritesField(FieldType[Writes]):
    """A field whose state is the set of maximal writes."""

    __slots__ = ()

    kinds: ClassVar[frozenset[str]] = frozenset({"set"})
    contextual: ClassVar[frozenset[str]] = frozenset({"set"})
    conflicting: ClassVar[bool] = True
    nestable: ClassVar[bool] = True

    def new(self) -> Writes:
        return []

    def apply(self, state: Writes, op: Op) -> None:
        self.put(state, op, op.value)

    def put(self, state: Writes, op: Op, value: Plain, branch: Branch | None = None) -> None:
        """Merge the write of `op`, which is kept with `value`."""
        write = Write(op.replica, op.seq, op.hlc, value, op.origin, branch)
        if state:
            dotted.put(state, write, op.context)
        else:
            state.append(write)

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        return replaced(earlier, later)

    def join(self, left: Writes, left_seen: Vector, right: Writes, right_seen: Vector) -> Writes:
        return dotted.join(left, left_seen, right, right_seen)

    def restated(self, state: Writes, key: str) -> tuple[str, Plain]:
        return "set", self.value(state)

    def winner(self, state: Writes) -> Write | None:
        """The write whose value stands; None before the first."""
        return max(state, key=self.rank) if state else None

    def encode(self, state: Writes) -> Plain:
        return dotted.encode(state)

    def decode(self, plain: Plain) -> Writes:
        return dotted.decode(plain)

    def copy(self, state: Writes) -> Writes:
        return state[:]

    def is_new(self, state: Writes) -> bool:
        return not state

    def erase(self, state: Writes, seen: Vector, observed: Plain) -> None:
        dotted.erase(state, seen)

    def holds(self, state: Writes) -> Iterable[str]:
        return [one.replica for write in state for one in (write, *settled_by(write))]

    def standing(self, state: Writes, key: str) -> Sequence[Write]:
        return state

    def writes(self, state: Writes) -> Sequence[Write]:
        return tuple(state)

    def siblings(self, state: Writes) -> Iterable[Siblings]:
        if len(state) > 1:
            yield Siblings("", state)
