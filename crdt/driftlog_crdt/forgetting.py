"""Forgetting replicas that are over: what they did becomes *the past*, one name for all of them.

A replica is one life of a device, and lives end. A document that ten thousand of them have touched would carry ten thousand
entries in its vector, its counters and its sets, and in the context of each op that is written on it. `fold` takes the entries
of replicas that are retired out of a state and puts one in their place, under the name PAST; nothing that anybody reads changes.

When it may be done: **once every op still to come was written by somebody who had seen all ops of these replicas** on the document, and
none of theirs will be let in any more. Both are decided outside, once, and written into the log, so that every replay folds at
the same place. From this follows all that is needed:

- *The past has been seen by everybody.* Whatever an op takes away of what its writer saw, it takes of the past too, and all of it: an
  erase empties the past's cell, a remove takes its adds, a remembered remove of its is met by no add any more. So no claims are needed
  and one dot is enough, `(PAST, n)`; n counts the ops that were forgotten, so that folding in two steps or in one gives the same bytes.
  Above the count stands the *epoch*: a document that begins where another of its name was purged begins with that place in the log as its
  past (`begin`), so what knew the old one is told from what knows the new one.
- *Ops on their way may still name the forgotten in their contexts.* Whoever merges says who is retired (`apply(..., retired)`), and what
  such an op knew of them counts as seen. An edge says "everybody but me" of its own ops: it had seen all that they name.
- *A state that has not folded what another has is an earlier state of the same log*, and all that it has merged is in the other as well.
  So `join` takes the later one.

What stays under its own name: writes that stand in registers (people decide about them by name, and there are only as many as are
concurrent; they are folded when they do not stand any more). Texts and lists name their elements by who wrote them, deleted ones too; they
are founded anew where replicas are folded (see `foundation`).

Sources: Almeida, Baquero and Fonte 2008, "Interval tree clocks" (retiring identities); Bieniusa et al. 2012, section 5; the floor is the
causal stability of Baquero, Almeida and Shoker 2017, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

from driftlog_crdt.causal import MOST_FORGOTTEN, PAST, PAST_BITS, Vector, without_epoch
from driftlog_crdt.document_state import DocumentState
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.ops import Op


class EverybodyBut(NamedTuple):
    """For an edge's own ops: whom they name and the state does not list, it has forgotten."""

    replica: str

    def __contains__(self, name: object) -> bool:
        return name != self.replica


def begin(state: DocumentState, epoch: int) -> None:
    """A document without ops begins in this epoch, in place."""
    assert blank(state), "only a document without ops can begin"
    state.vector = {PAST: epoch << PAST_BITS} if epoch else {}


def blank(state: DocumentState) -> bool:
    """Has it no ops?"""
    return not without_epoch(state.vector)


def fold(state: DocumentState, types: Mapping[str, FieldType[Any]], retired: Mapping[str, str]) -> bool:
    """Make the past of retired replicas, in place; each is given with the replica that inherits its rights. Was there any?"""
    standing = chain.from_iterable(types[name].holds(field) for name, field in state.fields.items())
    gone = {replica: retired[replica] for replica in retired.keys() - set(standing)}
    named = gone.keys() & state.vector.keys()
    if not named:
        return False
    ops = sum(map(state.vector.__getitem__, named))
    before = state.vector.get(PAST, 0)
    if (before & MOST_FORGOTTEN) + ops > MOST_FORGOTTEN:
        return False
    past = state.vector[PAST] = before + ops
    if state.presence is not None and (named | {PAST}) & state.presence.keys():
        state.presence[PAST] = past
    for entries in (state.vector, state.presence, state.grave, state.refused):
        for replica in named if entries is not None else ():
            entries.pop(replica, None)  # type: ignore[union-attr]  # just checked
    for name, field in state.fields.items():
        types[name].fold(field, gone, past)
    return True


def seen_past(op: Op, vector: Vector) -> Op:
    """The op as one whose writer had seen the past, as all have."""
    past = vector.get(PAST, 0)
    if op.context is None or op.context.get(PAST, 0) >= past:
        return op
    return op._replace(context={**op.context, PAST: past})


def later(left: DocumentState, right: DocumentState) -> DocumentState | None:
    """The one that has forgotten more; None where both have forgotten the same."""
    ahead = left.vector.get(PAST, 0) - right.vector.get(PAST, 0)
    return left if ahead > 0 else right if ahead < 0 else None


def with_past(floor: Vector, vector: Vector) -> Vector:
    """What everybody has seen, the past of this vector too."""
    return {**floor, PAST: vector[PAST]} if PAST in vector else floor
