"""Deletes: what they take away, and what may live after them.

| concurrent ops | delete-wins | update-wins |
|---|---|---|
| delete and any op | the op has no effect | the op stays; what the delete's writer had seen goes |
| delete and delete | deleted | deleted |
| delete, then an op by someone who saw it | the document is there again, fresh | the same |

**delete-wins.** The state keeps the dots of all deletes, the *grave*. A delete empties the fields. An op has effect only if its
writer had seen every delete in the grave; else it counts as seen and does nothing. For that to be known, every op written
on a view with a grave carries its context, also one whose kind commutes; an op without one comes from a writer who knew of
no delete but his own. Two states join by their vectors: a side keeps its fields if it has seen all the other's deletes. If
neither has, both are emptied, which is what the union of their ops says. Causal delivery makes this a function of the op set:
at any time the fields hold exactly the ops that are later than *all* deletes merged.

**update-wins.** A delete is an observed remove of the whole document: each field erases what the delete's context covers
(see `FieldType.erase`), and what is concurrent stays. What counts as seen is closed under causality, so what
survives is a set of ops from which each field's value follows as if the rest had never been.

**Pruning.** The grave has one entry per replica that ever deleted. Once everybody has seen it (`floor` covers it), no op that it
could refuse is still on its way, and it may go; an empty grave stays as the mark that ops need contexts here, because
another replica may not have pruned yet. The vector always stays: it is what makes duplicates harmless.

Must never happen: an op by somebody who had not seen a delete brings the document back (delete-wins).

Source: Shapiro et al. 2011, section 3.3.5 (observed remove), on whole documents; the causal floor is that of Wuu and Bernstein 1984.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftlog_crdt.causal import Vector, dominates, joined, without_epoch
from driftlog_crdt.document_state import DocumentState
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain

Presence = dict[str, int]


def effective(state: DocumentState, op: Op) -> bool:
    """Under delete-wins, where somebody has deleted: had the op's writer seen every delete that `state` has?"""
    grave = state.grave
    assert grave is not None, "asked only where there is a grave"
    if op.context is None:
        return len(grave) == 1 and op.replica in grave
    seen = op.context.get
    return all(seen(replica, 0) >= seq or replica == op.replica for replica, seq in grave.items())


def without_effect(state: DocumentState, replica: str, seq: int) -> None:
    """Count an op as seen that changes nothing."""
    if state.presence is None:
        state.presence = dict(without_epoch(state.vector))
    state.vector[replica] = seq


def bury(state: DocumentState, op: Op) -> None:
    """Under delete-wins: empty the document and remember the delete."""
    state.fields = {}
    state.unread = {}
    state.presence = {}
    _remember(state, op)


def observed(state: DocumentState, types: Mapping[str, FieldType[Any]]) -> Plain:
    """Under update-wins: what a delete says besides the vector that its writer has seen, by field; None for nothing."""
    seen: dict[str, Plain] = {}
    for name, field in state.fields.items():
        mine = types[name].observe(field)
        if mine is not None:
            seen[name] = mine
    return seen or None


def erase(state: DocumentState, op: Op, types: Mapping[str, FieldType[Any]]) -> None:
    """Under update-wins: take away, in place, what the delete's writer had seen."""
    floor = {**(op.context or {}), op.replica: op.seq}
    seen: Any = op.value or {}
    for name, field in state.fields.items():
        types[name].erase(field, floor, seen.get(name))
    _unsee(state, op, floor)


def keeps(side: DocumentState, other: DocumentState) -> bool:
    """Under delete-wins: do the fields of `side` survive a join with `other`?"""
    return other.grave is None or dominates(side.vector, other.grave)


def joined_presence(left: DocumentState, right: DocumentState) -> Presence | None:
    """Latest effective ops of both sides: what one side has seen but does not hold was taken away there."""
    if left.presence is None and right.presence is None:
        return None
    return _joined_dots(_present(left), left.vector, _present(right), right.vector)


def joined_grave(left: DocumentState, right: DocumentState) -> dict[str, int] | None:
    """The deletes of both sides, less those that one side has pruned."""
    if left.grave is None or right.grave is None:
        return _copy(right.grave if left.grave is None else left.grave)
    return _joined_dots(left.grave, left.vector, right.grave, right.vector)


def prune(state: DocumentState, floor: Vector) -> bool:
    """Forget the grave if `floor`, what everybody has seen, covers it. Answers whether it did."""
    if not state.grave or not dominates(floor, state.grave):
        return False
    state.grave = {}
    return True


def _unsee(state: DocumentState, op: Op, floor: Vector) -> None:
    """What `floor` covers is no longer present. The fields have erased it already."""
    present = without_epoch(state.vector) if state.presence is None else state.presence
    state.presence = {replica: seq for replica, seq in present.items() if floor.get(replica, 0) < seq}
    _remember(state, op)


def _remember(state: DocumentState, op: Op) -> None:
    state.grave = joined(state.grave or {}, {op.replica: op.seq})
    state.vector[op.replica] = op.seq


def _present(state: DocumentState) -> Vector:
    return without_epoch(state.vector) if state.presence is None else state.presence


def _joined_dots(left: Vector, left_seen: Vector, right: Vector, right_seen: Vector) -> dict[str, int]:
    kept = {r: s for r, s in left.items() if right.get(r, 0) == s or right_seen.get(r, 0) < s}
    for replica, seq in right.items():
        if left_seen.get(replica, 0) < seq:
            kept[replica] = seq
    return kept


def _copy(vector: dict[str, int] | None) -> dict[str, int] | None:
    return None if vector is None else dict(vector)
