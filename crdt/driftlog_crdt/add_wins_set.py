"""AddWinsSet: elements added and removed; an add survives a remove that had not seen it.

| concurrent ops | result |
|---|---|
| add(e) and remove(e) | e is in |
| add(e) and add(e) | e is in |
| remove(e) and remove(e) | e is out |

State: element -> {replica: seq of its latest add}. A remove carries what its writer had seen and takes away just those
adds. No tombstones: the document's version vector tells an add that was removed from one that has not arrived.

>>> from driftlog_crdt.ops import Op
>>> tags = AddWinsSet()
>>> state = tags.new()
>>> _ = tags.apply(state, Op("a", 1, 0, "tags", "add", "new"))
>>> _ = tags.apply(state, Op("b", 1, 0, "tags", "remove", "new", {}))  # had not seen a's add
>>> tags.value(state)
['new']

Source: Bieniusa et al. 2012, "An optimized conflict-free replicated set", figure 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import FieldType, replaced
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, Scalar, canonical, check_scalar

Adds: TypeAlias = dict[str, int]
SetState: TypeAlias = dict[str, tuple[Scalar, Adds]]
"""canonical text of the element -> (element, its surviving adds)"""


class AddWinsSet(FieldType[SetState]):
    """An observed-remove set of scalars."""

    __slots__ = ()

    name = "add_wins_set"
    kinds = frozenset({"add", "remove"})
    contextual = taking = frozenset({"remove"})

    def new(self) -> SetState:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_scalar(op.value, op.field)

    def apply(self, state: SetState, op: Op) -> None:
        key = canonical(op.value)
        entry = state.get(key)
        if op.kind == "add":
            if entry is None:
                state[key] = (op.value, {op.replica: op.seq})  # type: ignore[assignment]  # check() has seen a scalar
            else:
                entry[1][op.replica] = op.seq
        elif entry is not None:
            seen = op.context or {}
            adds = {
                replica: seq
                for replica, seq in entry[1].items()
                if replica != op.replica and seen.get(replica, 0) < seq
            }
            if adds:
                state[key] = (entry[0], adds)
            else:
                del state[key]

    def spot(self, op: Op) -> str:
        return canonical(op.value)

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        """An add does not undo a remove, which takes what others have added."""
        return None if (earlier.kind, later.kind) == ("remove", "add") else replaced(earlier, later)

    def join(self, left: SetState, left_seen: Vector, right: SetState, right_seen: Vector) -> SetState:
        result: SetState = {}
        for key in left.keys() | right.keys():
            element, ours = left.get(key, (None, {}))
            other, theirs = right.get(key, (None, {}))
            adds = {r: s for r, s in ours.items() if theirs.get(r, 0) == s or right_seen.get(r, 0) < s}
            for replica, seq in theirs.items():
                if ours.get(replica, 0) == seq or left_seen.get(replica, 0) < seq:
                    adds[replica] = seq
            if adds:
                result[key] = (element if key in left else other, adds)
        return result

    def value(self, state: SetState) -> Plain:
        return [state[key][0] for key in sorted(state)]

    def encode(self, state: SetState) -> Plain:
        return [state[key] for key in sorted(state)]  # type: ignore[misc]  # a pair is a list in JSON

    def decode(self, plain: Plain) -> SetState:
        if type(plain) is not list:
            raise BadEncoding("", "a set is encoded as a list")
        state: SetState = {}
        for item in plain:
            if type(item) is not list or len(item) != 2:
                raise BadEncoding("", "an element is encoded as [element, {replica: seq}]")
            element, adds = item
            if isinstance(element, (list, dict)) or not _are_adds(adds):
                raise BadEncoding("", "an element is encoded as [element, {replica: seq}]")
            key = canonical(element)
            if key in state:
                raise BadEncoding("", f"element {key} stands twice")
            state[key] = (element, adds)  # type: ignore[assignment]  # just checked
        return state

    def copy(self, state: SetState) -> SetState:
        return {key: (element, dict(adds)) for key, (element, adds) in state.items()}

    def is_new(self, state: SetState) -> bool:
        return not state

    def fold(self, state: SetState, retired: Mapping[str, str], past: int) -> None:
        for _, adds in state.values():
            if [adds.pop(replica) for replica in (PAST, *retired) if replica in adds]:
                adds[PAST] = past

    def erase(self, state: SetState, seen: Vector, observed: Plain) -> None:
        for key, (element, adds) in list(state.items()):
            kept = {replica: seq for replica, seq in adds.items() if seen.get(replica, 0) < seq}
            if kept:
                state[key] = (element, kept)
            else:
                del state[key]


def _are_adds(adds: Plain) -> bool:
    if type(adds) is not dict or not adds:
        return False
    for seq in adds.values():  # noqa: SIM110  # a generator costs more than what it generates
        if type(seq) is not int or seq < 1:
            return False
    return True
