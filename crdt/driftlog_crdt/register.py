"""Register: one value; among concurrent writes the higher (HLC, replica) stands, the others are known.

| concurrent ops | result |
|---|---|
| set(x) and set(y) | the write with the higher (hlc, replica) is the value; the other stays beside it |
| set(x) and set(x) | x; not a conflict |
| set(x), then set(y) by someone who saw x | y, whatever the clocks say |

Causality decides first and clocks only between concurrent writes: keeping just the winner would let a late write with
a slow clock give different values in different orders. So the state is the set of maximal writes (at most one per
replica), and the value is picked from it. A conflict exists between two of them with different values; the next write
by somebody who saw both ends it.

>>> from driftlog_crdt.ops import Op
>>> register = Register(default="")
>>> state = register.new()
>>> register.apply(state, Op("a", 1, 10, "name", "set", "tea", {}))
()
>>> register.apply(state, Op("b", 1, 11, "name", "set", "coffee", {}))
(Write(replica='a', seq=1, hlc=10, value='tea'),)
>>> register.value(state)
'coffee'

Source: Shapiro et al. 2011, section 3.2.1 (LWW), on the siblings of Preguiça et al. 2012, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from driftlog_crdt import dotted
from driftlog_crdt.causal import Vector
from driftlog_crdt.dotted import Writes
from driftlog_crdt.field_type import NO_WRITES, FieldType, Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, canonical, check_plain


@dataclass(frozen=True, slots=True)
class Register(FieldType[Writes]):
    """Last writer wins, losers recorded."""

    default: Plain = None

    name: ClassVar[str] = "register"
    kinds: ClassVar[frozenset[str]] = frozenset({"set"})
    contextual: ClassVar[frozenset[str]] = frozenset({"set"})

    def new(self) -> Writes:
        return []

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_plain(op.value, op.field)

    def apply(self, state: Writes, op: Op) -> tuple[Write, ...]:
        dotted.put(state, op)
        if len(state) == 1:
            return NO_WRITES
        value = canonical(op.value)
        return tuple(w for w in state if w.replica != op.replica and canonical(w.value) != value)

    def join(self, left: Writes, left_seen: Vector, right: Writes, right_seen: Vector) -> Writes:
        return dotted.join(left, left_seen, right, right_seen)

    def winner(self, state: Writes) -> Write | None:
        """The write whose value stands; None before the first."""
        return max(state, key=_rank) if state else None

    def writes(self, state: Writes) -> tuple[Write, ...]:
        return tuple(state)

    def value(self, state: Writes) -> Plain:
        if not state:
            return self.default
        return state[0].value if len(state) == 1 else max(state, key=_rank).value

    def encode(self, state: Writes) -> Plain:
        return dotted.encode(state)

    def decode(self, plain: Plain) -> Writes:
        return dotted.decode(plain)

    def copy(self, state: Writes) -> Writes:
        return state[:]

    def is_new(self, state: Writes) -> bool:
        return not state


def _rank(write: Write) -> tuple[int, str, int]:
    return (write.hlc, write.replica, write.seq)
