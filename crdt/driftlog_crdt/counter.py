"""Counter: increments and decrements add up.

| concurrent ops | result |
|---|---|
| increment(a) and increment(b) | + a + b |
| increment(a) and decrement(b) | + a - b |
| increment(a) and an erase that had not seen it | + a, from zero |

State: replica -> [sum of its increments, sum of its decrements], and, once something was erased, the two sums that
were erased of it. Each number only grows, and only through its own replica's ops in order, so the larger one is the
later one and `join` is the maximum. An erase cannot be told from the sums alone (which of them had its writer seen?), so it
carries the sums that its writer saw; the maximum of those is what is taken off. What it claims beyond what is held is not
believed.

>>> from driftlog_crdt.ops import Op
>>> counter = Counter()
>>> state = counter.new()
>>> _ = counter.apply(state, Op("a", 1, 0, "n", "increment", 5)), counter.apply(state, Op("b", 1, 0, "n", "decrement", 2))
>>> counter.value(state)
3
>>> seen = counter.observe(state)
>>> _ = counter.apply(state, Op("a", 2, 0, "n", "increment", 1))
>>> counter.erase(state, {"a": 1, "b": 1}, seen)
>>> counter.value(state)
1

Source: Shapiro et al. 2011, "A comprehensive study of Convergent and Commutative Replicated Data Types", section 3.1.3;
the erased sums follow Weidner and Almeida 2022, "An oblivious observed-reset embeddable replicated counter".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.errors import BadEncoding, BadValue
from driftlog_crdt.field_type import FieldType, combined
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain
from driftlog_crdt.takeover import Takeover

CounterState: TypeAlias = dict[str, list[int]]
"""replica -> [up, down] or [up, down, erased up, erased down]"""

MAX_STEP = 2**63 - 1
_NOTHING = [0, 0]


class Counter(FieldType[CounterState]):
    """A PN-Counter of integers."""

    __slots__ = ()

    name = "counter"
    kinds = frozenset({"increment", "decrement"})
    nestable = True
    claims = True

    def new(self) -> CounterState:
        return {}

    def check(self, op: Op) -> None:
        if op.kind not in self.kinds:
            self.require_kind(op)
        value = op.value
        if value.__class__ is not int or not 0 <= value <= MAX_STEP:
            raise BadValue(op.field, f"{op.kind} takes a whole number from 0 up, not {value!r}")

    def apply(self, state: CounterState, op: Op) -> None:
        side = 0 if op.kind == "increment" else 1
        sums = state.get(op.replica)
        if sums is None:
            sums = state[op.replica] = [0, 0]
        sums[side] += op.value  # type: ignore[operator,assignment]  # check() has seen an int

    def spot(self, op: Op) -> str:
        return op.kind

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        total: int = earlier.value + later.value  # type: ignore[operator,assignment]  # check() has seen ints
        if earlier.kind != later.kind or total > MAX_STEP:
            return None
        return combined(earlier, later, total)

    def join(self, left: CounterState, left_seen: Vector, right: CounterState, right_seen: Vector) -> CounterState:
        result = self.copy(left)
        for replica, theirs in right.items():
            ours = result.get(replica)
            result[replica] = theirs[:] if ours is None else _larger(ours, theirs)
        if (PAST in left) != (PAST in right) and PAST in left_seen and PAST in right_seen:
            del result[PAST]  # erased on the other side
        return result

    def value(self, state: CounterState) -> int:
        total = 0
        for sums in state.values():
            total += sums[0] - sums[1]
            if len(sums) == 4:
                total -= sums[2] - sums[3]
        return total

    def encode(self, state: CounterState) -> Plain:
        return state  # type: ignore[return-value]  # list is invariant

    def decode(self, plain: Plain) -> CounterState:
        if type(plain) is not dict:
            raise BadEncoding("", "a counter is encoded as an object")
        for replica, sums in plain.items():
            if type(sums) is not list or len(sums) not in (2, 4) or not are_sums(sums):
                raise BadEncoding("", f"counter of {replica}: two or four whole numbers expected")
            if len(sums) == 4 and (sums[2] > sums[0] or sums[3] > sums[1]):  # type: ignore[operator]  # just checked
                raise BadEncoding("", f"counter of {replica}: more was erased than counted")
        return plain  # type: ignore[return-value]  # just checked

    def copy(self, state: CounterState) -> CounterState:
        return {replica: sums[:] for replica, sums in state.items()}

    def fold(self, state: CounterState, retired: Mapping[str, str], past: int) -> None:
        left = [_left(state.pop(replica)) for replica in (PAST, *retired) if replica in state]
        total = [sum(up for up, _ in left), sum(down for _, down in left)]
        if total != _NOTHING:
            state[PAST] = total

    def is_new(self, state: CounterState) -> bool:
        return not state

    def is_empty(self, state: CounterState) -> bool:
        return all(sums[:2] == (sums[2:] or _NOTHING) for sums in state.values())

    def observe(self, state: CounterState) -> Plain:
        seen: dict[str, Plain] = {
            replica: [sums[0], sums[1]] for replica, sums in state.items() if replica != PAST and sums[:2] != sums[2:]
        }
        return seen or None

    def renamed(self, kind: str, value: Any, taking: Takeover) -> Plain:
        if kind:
            taking.counts(kind == "decrement", value)
            return value  # type: ignore[no-any-return]
        erased = dict(value or {})
        if taking.old in erased:
            stays = [max(0, counted - came) for came, counted in zip(taking.seen_sums, erased[taking.old], strict=True)]
            erased[taking.old] = stays
        if any(taking.sums):
            erased[taking.new] = [*taking.sums]
        return erased or None

    def check_observed(self, observed: Plain, field: str) -> None:
        if observed is None:
            return
        if type(observed) is not dict:
            raise BadValue(field, "an erase of a counter carries the sums that its writer saw")
        for replica, sums in observed.items():
            if type(sums) is not list or len(sums) != 2 or not are_sums(sums):
                raise BadValue(field, f"erased sums of {replica}: two whole numbers expected")

    def erase(self, state: CounterState, seen: Vector, observed: Plain) -> None:
        if PAST in seen:
            state.pop(PAST, None)
        totals: Any = observed or {}
        for replica, (up, down) in totals.items():
            held = state.get(replica, _NOTHING)
            taken = [min(up, held[0]), min(down, held[1])]
            if taken != _NOTHING:
                state[replica] = _larger(held, [0, 0, *taken])


def _left(sums: list[int]) -> tuple[int, int]:
    """What was counted and not erased."""
    return (sums[0], sums[1]) if len(sums) == 2 else (sums[0] - sums[2], sums[1] - sums[3])


def _larger(left: list[int], right: list[int]) -> list[int]:
    if len(left) < len(right):
        left, right = right, left
    larger = [max(a, b) for a, b in zip(left, right, strict=False)]
    return larger + left[len(right) :]


def are_sums(sums: Iterable[Plain]) -> bool:
    """Are these what a counter adds up: whole numbers from 0 up?"""
    for n in sums:  # noqa: SIM110  # a generator costs more than what it generates
        if type(n) is not int or n < 0:
            return False
    return True
