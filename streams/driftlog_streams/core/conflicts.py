"""Conflicts as records: one for a document and place, with all the versions that compete for it.

The place is the field, `field.key` for a key of a map, or empty for a record that is written as one. What is published follows from
the state alone: the writes that stand there, who made them (their origin is kept with them in the state), and since when two of
them differ. So a record is made once per flight however many writes came, a worker that starts anew publishes the same, and a
deadline does not move when another version joins. An ended conflict is told as it last stood, with what ended it, be it a person or its
deadline (`settle`); if the place is fought over again later, its record opens again.

A record is bounded: over `MAX_VERSIONS` versions, or `MAX_BYTES` of values and names, the lowest in rank are left out and counted in `omitted`.
The one that stands and its first rival are always there; both, and what ends the conflict, have passed the size guard of their document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from driftlog_crdt import Conflict as Standing
from driftlog_crdt import DocumentState, Op, Origin, Place, Write, canonical, differ
from driftlog_schemas.forgetting_codec import digest_of_writes
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.rules import Collection

MAX_VERSIONS = 1024
MAX_BYTES = 256 * 1024
_NUMBERS_BYTES = 64
"""What a version takes besides."""
_NOT_SAID = Origin("", "", 0, 0)
"""The origin of a write from before its field's conflicts were published."""


def standing(document: DocumentId, collection: Collection, state: DocumentState, place: Place) -> Conflict | None:
    """The conflict at a place as it stands now; None where there is none, or nobody is to be told."""
    policy = collection.policies.get(place.field)
    found = None if policy is None else collection.type.conflict_at(state, place)
    if policy is None or found is None:
        return None
    status = ConflictStatus.OPEN if policy == "review" else ConflictStatus.RECORDED
    return _record(document, collection, found, policy, status)


def versions(collection: Collection, state: DocumentState, place: Place) -> int:
    """How many writes compete for a place; 0 where there is no conflict, or nobody is to be told."""
    found = collection.type.conflict_at(state, place) if place.field in collection.policies else None
    return 0 if found is None else len(found.writes)


def places(collection: Collection, state: DocumentState) -> list[Place]:
    """Where a document is in conflict and somebody is to be told."""
    found = [conflict for name in collection.policies for conflict in collection.type.conflicts_of(state, name)]
    return [Place(conflict.field, conflict.key) for conflict in found]


def names(document: DocumentId, collection: Collection, state: DocumentState) -> dict[bytes, Place]:
    """The same by the names of their records."""
    return {conflict_id(document, place_name(*place)).encode(): place for place in places(collection, state)}


def ended(
    document: DocumentId, collection: Collection, arrival: Arrival, op: Op, state: DocumentState, before: Standing
) -> Conflict | None:
    """A conflict that `op`, now merged in `state`, has ended, as it was before; None where nobody is to be told."""
    policy = collection.policies.get(before.field)
    if policy is None:
        return None
    write = collection.type.write_of(state, Place(before.field, before.key), op.replica, op.seq)
    by = _version(
        Write(
            op.replica,
            op.seq,
            op.hlc,
            None if write is None else write.value,
            arrival.command.origin(op, arrival.append_ms),
        ),
    )
    return _record(document, collection, before, policy, ConflictStatus.RESOLVED, by)


def settle(
    document: DocumentId, collection: Collection, state: DocumentState, place: Place, append_ms: int
) -> Conflict | None:
    """Make what stands at a place final, in `state`, at this time of the log: the conflict, and by what it has ended. None where there is none.

    The declaration of today may say another policy than the one by which it was found.
    """
    before = collection.type.settle(state, place, append_ms)
    if before is None:
        return None
    policy = collection.policies.get(place.field, "review")
    by = survivor(collection, state, place)
    return _record(document, collection, before, policy, ConflictStatus.SETTLED, by)


def dues(collection: Collection, state: DocumentState) -> list[tuple[Place, int, bytes]]:
    """The conflicts of a document that have a deadline: where, until when, and the digest of the writes that compete."""
    found = [conflict for name in collection.timed for conflict in collection.type.conflicts_of(state, name)]
    return [(Place(c.field, c.key), _deadline_ms(collection, c), digest_of_writes(c.writes)) for c in found]


def first_due(collection: Collection, state: DocumentState) -> int:
    """The first deadline of a conflict of a document; 0 for none."""
    found = [conflict for name in collection.timed for conflict in collection.type.conflicts_of(state, name)]
    return min([_deadline_ms(collection, conflict) for conflict in found], default=0)


def survivor(collection: Collection, state: DocumentState, place: Place) -> Version | None:
    """The write that stands at a place; None where a delete has left none."""
    writes = collection.type.writes_at(state, place)
    return _version(max(writes, key=collection.type.merge_type(place.field).rank)) if writes else None


def as_held(collection: Collection, state: DocumentState, place: Place, conflict: Conflict) -> Conflict:
    """The record, with what the state holds of those of its writes that stand at its place. Of what was written over it tells what it did."""
    held = {(write.replica, write.seq): write for write in collection.type.writes_at(state, place)}

    def true(version: Version) -> Version:
        write = held.get((version.replica, version.seq))
        return version if write is None or write.origin is None else _version(write)

    by = conflict.decided_by
    return replace(conflict, versions=tuple(map(true, conflict.versions)), decided_by=None if by is None else true(by))


def place_name(field: str, key: str) -> str:
    """How a conflict names its place."""
    return f"{field}.{key}" if key else field


def place_of(name: str) -> Place:
    """The place that a conflict names."""
    field, _, key = name.partition(".")
    return Place(field, key)


def _record(
    document: DocumentId,
    collection: Collection,
    found: Standing,
    policy: str,
    status: ConflictStatus,
    decided_by: Version | None = None,
) -> Conflict:
    shown = _shown(found.writes)
    place = place_name(found.field, found.key)
    return Conflict(
        id=conflict_id(document, place),
        document=document,
        field=place,
        versions=tuple(map(_version, shown)),
        omitted=len(found.writes) - len(shown),
        policy=policy,
        rule=collection.type.merge_type(found.field).name,
        opened_ms=_opened_ms(found.writes),
        detected_ms=max(_origin(write).append_ms for write in found.writes),
        deadline_ms=_deadline_ms(collection, found),
        status=status,
        decided_by=decided_by,
    )


def _deadline_ms(collection: Collection, found: Standing) -> int:
    opened_ms, allowed_ms = _opened_ms(found.writes), collection.type.declared(found.field).deadline_ms
    return opened_ms + allowed_ms if allowed_ms and opened_ms else 0


def _shown(writes: Sequence[Write]) -> Sequence[Write]:
    """Those that fit into a record, of writes by rank."""
    size = 0
    for count, write in enumerate(writes[:MAX_VERSIONS]):
        size += _size(write)
        if size > MAX_BYTES and count >= 2:
            return writes[:count]
    return writes[:MAX_VERSIONS]


def _size(write: Write) -> int:
    """About how many bytes a version takes, and not less."""
    origin = _origin(write)
    names = write.replica + origin.command_id + origin.actor
    if origin.decision is not None:
        names += origin.decision.reason
    return len(canonical(write.value)) + len(names.encode()) + _NUMBERS_BYTES


def _opened_ms(writes: Sequence[Write]) -> int:
    """When the log took the first write that differs from the earliest of them."""
    earliest, *later = sorted(writes, key=lambda w: (_origin(w).append_ms, w.replica))
    return next(_origin(write).append_ms for write in later if differ(write.value, earliest.value))


def _origin(write: Write) -> Origin:
    return write.origin or _NOT_SAID


def _version(write: Write) -> Version:
    command_id, actor, append_ms, seen, decision = _origin(write)
    how, reason = ("", "") if decision is None else decision[:2]
    return Version(write.replica, write.seq, write.hlc, append_ms, write.value, command_id, actor, seen, how, reason)
