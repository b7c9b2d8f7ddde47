"""Max and Min: the largest (smallest) number anybody wrote.

| concurrent ops | `Max` | `Min` |
|---|---|---|
| raise/lower to x and to y | the larger | the smaller |
| to x, and an erase that had not seen it | x | x |

The value is the extreme of a set of numbers, which does not depend on their order. What is kept of the set: per replica, the
numbers that no later one of the same replica outdoes, as [seq, number]. Mostly that is one; a replica that comes back
from its own peak adds a step. The steps are needed because an erase (a delete under update-wins, a key removed) may take the
peak and leave what came after it. Steps that everybody has seen fall together (`prune`).

>>> from driftlog_crdt.ops import Op
>>> peak = Max()
>>> state = peak.new()
>>> _ = peak.apply(state, Op("a", 1, 0, "peak", "raise", 7)), peak.apply(state, Op("a", 2, 0, "peak", "raise", 5))
>>> peak.value(state)
7
>>> peak.erase(state, {"a": 1}, None)
>>> peak.value(state)
5

Source: Shapiro et al. 2011, section 2.3 (monotonic semilattice over max); kept by dots as in Bieniusa et al. 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.errors import BadEncoding, BadValue
from driftlog_crdt.field_type import FieldType, combined
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, check_plain

Number: TypeAlias = int | float
Steps: TypeAlias = dict[str, list[tuple[int, Number]]]
"""replica -> [(seq, number)], seq growing, each number outdone by the one before it"""


class Max(FieldType[Steps]):
    """The largest number; None before the first."""

    __slots__ = ()

    name = "max"
    kinds = frozenset({"raise"})
    nestable = True
    sign = 1

    def new(self) -> Steps:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_plain(op.value, op.field)
        if type(op.value) not in (int, float):
            raise BadValue(op.field, f"{op.kind} takes a number, not {op.value!r}")

    def apply(self, state: Steps, op: Op) -> None:
        number: Number = op.value  # type: ignore[assignment]  # check() has seen a number
        if number == 0:
            number += 0  # no minus zero: it equals zero and reads otherwise
        steps = state.get(op.replica)
        if steps is None:
            state[op.replica] = [(op.seq, number)]
            return
        height = self._height(number)
        while steps and self._height(steps[-1][1]) <= height:
            steps.pop()
        steps.append((op.seq, number))

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        numbers: list[Number] = [earlier.value, later.value]  # type: ignore[list-item]  # check() has seen numbers
        return combined(earlier, later, max(numbers, key=self._height))

    def join(self, left: Steps, left_seen: Vector, right: Steps, right_seen: Vector) -> Steps:
        result: Steps = {}
        for replica in left.keys() | right.keys():
            ours, theirs = left.get(replica, []), right.get(replica, [])
            kept = {s: n for s, n in ours if (s, n) in theirs or right_seen.get(replica, 0) < s}
            kept.update((s, n) for s, n in theirs if left_seen.get(replica, 0) < s)
            if kept:
                result[replica] = sorted(kept.items())
        return result

    def value(self, state: Steps) -> Plain:
        return max((steps[0][1] for steps in state.values()), key=self._height, default=None)

    def encode(self, state: Steps) -> Plain:
        return {replica: [[seq, number] for seq, number in steps] for replica, steps in state.items()}

    def decode(self, plain: Plain) -> Steps:
        if type(plain) is not dict:
            raise BadEncoding("", f"a {self.name} is encoded as an object")
        return {replica: self._decode_steps(replica, steps) for replica, steps in plain.items()}

    def copy(self, state: Steps) -> Steps:
        return {replica: steps[:] for replica, steps in state.items()}

    def is_new(self, state: Steps) -> bool:
        return not state

    def erase(self, state: Steps, seen: Vector, observed: Plain) -> None:
        for replica, steps in list(state.items()):
            kept = [step for step in steps if seen.get(replica, 0) < step[0]]
            if kept:
                state[replica] = kept
            else:
                del state[replica]

    def prune(self, state: Steps, floor: Vector) -> None:
        for replica, steps in state.items():
            state[replica] = steps[:1] + [step for step in steps[1:] if floor.get(replica, 0) < step[0]]

    def fold(self, state: Steps, retired: Mapping[str, str], past: int) -> None:
        peaks = [state.pop(replica)[0][1] for replica in (PAST, *retired) if replica in state]
        if peaks:
            state[PAST] = [(past, max(peaks, key=self._height))]

    def _height(self, number: Number) -> tuple[Number, int]:
        """The order of numbers; of equal ones the float is the higher, so that the pick is always the same."""
        return (self.sign * number, type(number) is float)

    def _decode_steps(self, replica: str, plain: Plain) -> list[tuple[int, Number]]:
        if type(plain) is not list or not plain:
            raise BadEncoding("", f"steps of {replica}: a list of at least one expected")
        steps: list[tuple[int, Number]] = []
        for step in plain:
            if type(step) is not list or len(step) != 2:
                raise BadEncoding("", f"steps of {replica}: [seq, number] expected")
            seq, number = step
            if type(seq) is not int or (type(number) is not int and type(number) is not float):
                raise BadEncoding("", f"steps of {replica}: [seq, number] expected")
            if steps and (seq <= steps[-1][0] or not self._falls(steps[-1][1], number)):
                raise BadEncoding("", f"steps of {replica}: seq grows and each number is outdone by the one before")
            steps.append((seq, number))
        return steps

    def _falls(self, before: Number, after: Number) -> bool:
        return self._height(before) > self._height(after)


class Min(Max):
    """The smallest number; None before the first."""

    __slots__ = ()

    name = "min"
    kinds = frozenset({"lower"})
    sign = -1
