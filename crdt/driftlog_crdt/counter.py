"""Counter: increments and decrements add up.

| concurrent ops | result |
|---|---|
| increment(a) and increment(b) | + a + b |
| increment(a) and decrement(b) | + a - b |

State: replica -> [sum of its increments, sum of its decrements]. Each replica's pair only grows, and only through its
own ops in order, so the larger pair is the later one and `join` is the maximum.

>>> from driftlog_crdt.ops import Op
>>> counter = Counter()
>>> state = counter.new()
>>> _ = counter.apply(state, Op("a", 1, 0, "n", "increment", 5)), counter.apply(state, Op("b", 1, 0, "n", "decrement", 2))
>>> counter.value(state)
3

Source: Shapiro et al. 2011, "A comprehensive study of Convergent and Commutative Replicated Data Types", section 3.1.3.
"""

from __future__ import annotations

from typing import TypeAlias, cast

from driftlog_crdt.causal import Vector
from driftlog_crdt.errors import BadEncoding, BadValue
from driftlog_crdt.field_type import NO_WRITES, FieldType, Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain

CounterState: TypeAlias = dict[str, list[int]]


class Counter(FieldType[CounterState]):
    """A PN-Counter of integers."""

    name = "counter"
    kinds = frozenset({"increment", "decrement"})

    def new(self) -> CounterState:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        if type(op.value) is not int or op.value < 0:
            raise BadValue(op.field, f"{op.kind} takes a whole number from 0 up, not {op.value!r}")

    def apply(self, state: CounterState, op: Op) -> tuple[Write, ...]:
        side = 0 if op.kind == "increment" else 1
        sums = state.get(op.replica)
        if sums is None:
            sums = state[op.replica] = [0, 0]
        sums[side] += cast(int, op.value)  # check() has seen it
        return NO_WRITES

    def join(self, left: CounterState, left_seen: Vector, right: CounterState, right_seen: Vector) -> CounterState:
        result = self.copy(left)
        for replica, (up, down) in right.items():
            sums = result.setdefault(replica, [0, 0])
            sums[0], sums[1] = max(sums[0], up), max(sums[1], down)
        return result

    def value(self, state: CounterState) -> int:
        return sum(up - down for up, down in state.values())

    def encode(self, state: CounterState) -> Plain:
        return {replica: [up, down] for replica, (up, down) in sorted(state.items())}

    def decode(self, plain: Plain) -> CounterState:
        if not isinstance(plain, dict):
            raise BadEncoding("", "a counter is encoded as an object")
        state: CounterState = {}
        for replica, sums in plain.items():
            match sums:
                case [int(up), int(down)]:
                    state[replica] = [up, down]
                case _:
                    raise BadEncoding("", f"counter of {replica}: two whole numbers expected")
        return state

    def copy(self, state: CounterState) -> CounterState:
        return {replica: sums[:] for replica, sums in state.items()}

    def is_new(self, state: CounterState) -> bool:
        return not state
