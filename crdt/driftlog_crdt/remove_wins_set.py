"""RemoveWinsSet: elements added and removed; a remove beats an add that had not seen it.

| concurrent ops | result |
|---|---|
| add(e) and remove(e) | e is out |
| add(e) and add(e) | e is in |
| remove(e), then add(e) by someone who saw it | e is in |

State: element -> its maximal ops, as writes of True (add) or False (remove); the element is in while there are some and all
are adds. It converges as every set of maximal writes does (see `dotted`). For block lists and withdrawn consent, where
a late add must not undo a remove.

The price: the last remove of an element has to be remembered, since an add that has not seen it may still come. It is
forgotten, with the adds beside it, when everybody has seen them (`prune`): no such add can then be on its way.

>>> from driftlog_crdt.ops import Op
>>> allowed = RemoveWinsSet()
>>> state = allowed.new()
>>> _ = allowed.apply(state, Op("a", 1, 0, "allowed", "remove", "eve", {}))
>>> _ = allowed.apply(state, Op("b", 1, 0, "allowed", "add", "eve", {}))  # had not seen a's remove
>>> allowed.value(state)
[]

Source: Bieniusa et al. 2012, "An optimized conflict-free replicated set" (the dual of its add-wins set); the maximal ops
follow Baquero, Almeida and Shoker 2017, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from driftlog_crdt import dotted
from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import FieldType, Write, replaced
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, Scalar, canonical, check_scalar

OpsState: TypeAlias = dict[str, tuple[Scalar, Writes]]
"""canonical text of the element -> (element, its maximal adds and removes)"""


class RemoveWinsSet(FieldType[OpsState]):
    """A set of scalars in which a remove wins."""

    __slots__ = ()

    name = "remove_wins_set"
    kinds = frozenset({"add", "remove"})
    contextual = taking = frozenset({"add", "remove"})

    def new(self) -> OpsState:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_scalar(op.value, op.field)

    def apply(self, state: OpsState, op: Op) -> None:
        key = canonical(op.value)
        if key not in state:
            state[key] = (op.value, [])  # type: ignore[assignment]  # check() has seen a scalar
        entry = state[key]
        dotted.put(entry[1], Write(op.replica, op.seq, 0, op.kind == "add"), op.context)

    def spot(self, op: Op) -> str:
        return canonical(op.value)

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        return replaced(earlier, later)

    def join(self, left: OpsState, left_seen: Vector, right: OpsState, right_seen: Vector) -> OpsState:
        result: OpsState = {}
        for key in left.keys() | right.keys():
            element, ours = left.get(key, (None, []))
            other, theirs = right.get(key, (None, []))
            writes = dotted.join(ours, left_seen, theirs, right_seen)
            if writes:
                result[key] = (element if key in left else other, writes)
        return result

    def value(self, state: OpsState) -> Plain:
        return [state[key][0] for key in sorted(state) if all(w.value for w in state[key][1])]

    def encode(self, state: OpsState) -> Plain:
        return [[state[key][0], [[w.replica, w.seq, w.value] for w in state[key][1]]] for key in sorted(state)]

    def decode(self, plain: Plain) -> OpsState:
        if type(plain) is not list:
            raise BadEncoding("", "a set is encoded as a list")
        state: OpsState = {}
        for item in plain:
            if type(item) is not list or len(item) != 2 or type(item[1]) is not list or not item[1]:
                raise BadEncoding("", "an element is encoded as [element, [[replica, seq, is add]]]")
            element = item[0]
            writes = dotted.decode([_with_clock(write) for write in item[1]])
            key = canonical(element)
            if isinstance(element, (list, dict)) or key in state:
                raise BadEncoding("", f"element {key} cannot stand here")
            state[key] = (element, writes)
        return state

    def copy(self, state: OpsState) -> OpsState:
        return {key: (element, writes[:]) for key, (element, writes) in state.items()}

    def is_new(self, state: OpsState) -> bool:
        return not state

    def fold(self, state: OpsState, retired: Mapping[str, str], past: int) -> None:
        for _, writes in state.values():
            over = [w.value is True for w in writes if w.replica == PAST or w.replica in retired]
            if over:
                kept = [w for w in writes if w.replica != PAST and w.replica not in retired]
                writes[:] = sorted([Write(PAST, past, 0, all(over)), *kept])

    def erase(self, state: OpsState, seen: Vector, observed: Plain) -> None:
        for key, (_, writes) in list(state.items()):
            dotted.erase(writes, seen)
            if not writes:
                del state[key]

    def prune(self, state: OpsState, floor: Vector) -> None:
        for key, (_, writes) in list(state.items()):
            is_out = not all(w.value for w in writes)
            if is_out and all(floor.get(w.replica, 0) >= w.seq for w in writes):
                del state[key]


def _with_clock(write: Plain) -> Plain:
    if type(write) is not list or len(write) != 3 or type(write[2]) is not bool:
        raise BadEncoding("", "an element is encoded as [element, [[replica, seq, is add]]]")
    return [write[0], write[1], 0, write[2]]
