"""One write of a field that can be in conflict: which conflict it opens, keeps open or ends.

A write that replaces a settlement ends what that had settled only if it decides: see `settling`.
"""

from __future__ import annotations

from typing import Any

from driftlog_crdt.causal import SETTLER
from driftlog_crdt.conflicts import Place, conflict_of
from driftlog_crdt.document_state import APPLIED, Applied, Outcome
from driftlog_crdt.dotted import contested
from driftlog_crdt.field_type import NO_WRITES, FieldType, Write
from driftlog_crdt.ops import Op
from driftlog_crdt.settling import settled_by


def write(merge: FieldType[Any], field: Any, op: Op) -> Applied:
    """Apply an op, in place, of a field that can be in conflict: the place that is in conflict now, or the conflict that ended by it."""
    key = merge.place(op)
    before = merge.standing(field, key)
    held = tuple(before) if len(before) > 1 and contested(before) else NO_WRITES
    settlement = before[0] if len(before) == 1 and before[0].replica == SETTLER else None
    merge.apply(field, op)
    after = merge.standing(field, key)
    if len(after) > 1 and contested(after):
        return Applied(Outcome.APPLIED, (Place(op.field, key),))
    if settlement is not None and len(after) == 1 and _overrules(op, settlement):
        held = settled_by(settlement)
    if held:
        return Applied(Outcome.APPLIED, (), (conflict_of(Place(op.field, key), held, merge.rank),))
    return APPLIED


def _overrules(op: Op, settlement: Write) -> bool:
    """Does a write that replaces a settlement decide what that had decided? Who had seen it and just writes on does not."""
    decides = op.origin is not None and op.origin.decision is not None
    return decides or (op.context or {}).get(SETTLER, 0) < settlement.seq
