"""Which conflicts an op opens and closes, as records.

The algebra says which surviving writes stand beside a new one, and which siblings it replaced. A pair of differing siblings is
a conflict; it opens when the second of them is merged and is over when a later write replaces either of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from driftlog_crdt import Op, Write, canonical
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.rules import Collection


def opened(
    document: DocumentId, collection: Collection, command: Command, op: Op, beside: Sequence[Write], append_ms: int
) -> Iterator[Conflict]:
    """The conflicts between `op` and the writes beside it."""
    policy = collection.policies.get(op.field)
    if policy is None:
        return
    declared = collection.type.fields[op.field]
    status = ConflictStatus.OPEN if policy == "review" else ConflictStatus.RECORDED
    deadline = append_ms + declared.deadline_ms if declared.deadline_ms else 0
    mine = Version(op.replica, op.seq, op.hlc, op.value, command.id, command.actor)
    for write in beside:
        theirs = Version(*write)
        winner, loser = (mine, theirs) if _rank(mine) > _rank(theirs) else (theirs, mine)
        yield Conflict(
            id=conflict_id(document, op.field, (op.replica, op.seq), (write.replica, write.seq)),
            document=document,
            field=op.field,
            winner=winner,
            loser=loser,
            policy=policy,
            rule=declared.type.name,
            detected_ms=append_ms,
            deadline_ms=deadline,
            status=status,
        )


def closed(
    document: DocumentId,
    collection: Collection,
    command: Command,
    op: Op,
    before: Sequence[Write],
    after: Sequence[Write],
    append_ms: int,
) -> Iterator[Conflict]:
    """The conflicts among the siblings `before` that `op` has ended."""
    policy = collection.policies.get(op.field)
    if policy is None:
        return
    left = {(w.replica, w.seq) for w in after}
    by = Version(op.replica, op.seq, op.hlc, op.value, command.id, command.actor)
    for one, other in combinations(before, 2):
        dots = (one.replica, one.seq), (other.replica, other.seq)
        if all(dot in left for dot in dots) or canonical(one.value) == canonical(other.value):
            continue
        low, high = sorted((Version(*one), Version(*other)), key=_rank)
        yield Conflict(
            id=conflict_id(document, op.field, *dots),
            document=document,
            field=op.field,
            winner=high,
            loser=low,
            policy=policy,
            rule=collection.type.fields[op.field].type.name,
            detected_ms=append_ms,
            deadline_ms=0,
            status=ConflictStatus.RESOLVED,
            resolved_by=by,
        )


def _rank(version: Version) -> tuple[int, str, int]:
    return (version.hlc, version.replica, version.seq)
