"""Which conflicts an op opens and closes, as records.

The algebra says which writes stand in conflict beside a new one, and which pairs a later one has ended. Here each pair becomes a
record: of two writes the one that the field's type ranks higher stands. The record's place is the field, or `field.key` for a
key of a map, or empty for a record that is written as one.
"""

from __future__ import annotations

from collections.abc import Iterator

from driftlog_crdt import DOCUMENT, PUT, Applied, DocumentState, Op, Write
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core.rules import Collection


def changed(
    document: DocumentId,
    collection: Collection,
    command: Command,
    op: Op,
    applied: Applied,
    state: DocumentState,
    append_ms: int,
) -> Iterator[Conflict]:
    """The conflicts that `op`, now merged in `state`, has ended, and those that it has opened."""
    by = Version(op.replica, op.seq, op.hlc, None, command.id, command.actor)
    mine = _own_write(collection, op, state)
    if mine is not None:
        by = Version(*mine, command.id, command.actor)
    for pair in applied.closed:
        policy = collection.policies.get(pair.field)
        if policy is not None:
            low, high = _by_rank(collection, pair.field, pair.first, pair.second)
            yield Conflict(
                id=conflict_id(document, pair.field, pair.first[:2], pair.second[:2]),
                document=document,
                field=place_name(pair.field, pair.key),
                winner=Version(*high),
                loser=Version(*low),
                policy=policy,
                rule=collection.type.merge_type(pair.field).name,
                detected_ms=append_ms,
                deadline_ms=0,
                status=ConflictStatus.RESOLVED,
                resolved_by=by,
            )
    policy = collection.policies.get(op.field)
    if policy is None or not applied.beside:
        return
    assert mine is not None, "a write that stands beside others is kept"
    merge, deadline_ms = collection.type.merge_type(op.field), collection.type.declared(op.field).deadline_ms
    for theirs in applied.beside:
        i_win = _by_rank(collection, op.field, mine, theirs)[1] is mine
        yield Conflict(
            id=conflict_id(document, op.field, mine[:2], theirs[:2]),
            document=document,
            field=place_name(op.field, merge.place(op)),
            winner=by if i_win else Version(*theirs),
            loser=Version(*theirs) if i_win else by,
            policy=policy,
            rule=merge.name,
            detected_ms=append_ms,
            deadline_ms=append_ms + deadline_ms if deadline_ms else 0,
            status=ConflictStatus.OPEN if policy == "review" else ConflictStatus.RECORDED,
        )


def place_name(field: str, key: str) -> str:
    """How a conflict names its place."""
    return f"{field}.{key}" if key else field


def _own_write(collection: Collection, op: Op, state: DocumentState) -> Write | None:
    """What the field keeps of `op`; None for ops that write no value."""
    if op.field not in state.fields or (op.field == DOCUMENT and op.kind != PUT):
        return None
    standing = collection.type.merge_type(op.field).standing(state.fields[op.field], op)
    return next((write for write in standing if (write.replica, write.seq) == (op.replica, op.seq)), None)


def _by_rank(collection: Collection, field: str, one: Write, other: Write) -> tuple[Write, Write]:
    """The two, lower first."""
    rank = collection.type.merge_type(field).rank
    return (one, other) if rank(one) < rank(other) else (other, one)
