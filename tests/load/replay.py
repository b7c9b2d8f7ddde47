"""The state that the op topic itself says: every op once, by dot, folded in plain code.

It uses the algebra and the state codec, and nothing of the worker: no admission, no cache, no groups, no parking. Ops are
applied as soon as their predecessors and contexts are there, round after round until none moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from driftlog_crdt import DocumentState, Op, Outcome, bounded
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import StateCodec
from tests.load.history import TopicRecord


@dataclass(slots=True)
class Replayed:
    """Document key -> the bytes its state record must have; and what could not be applied."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    waiting: dict[bytes, list[Op]] = field(default_factory=dict)
    """Ops whose predecessor or context never came."""
    batches: set[tuple[str, int, int]] = field(default_factory=set)
    """(replica, partition, number) of every batch found."""
    commands: set[str] = field(default_factory=set)
    ops: int = 0


def replay(
    records: Sequence[TopicRecord], space: SpaceContract, ids: SchemaIds, refused: Iterable[int] = ()
) -> Replayed:
    """Fold the op topic. `refused` are indexes into `records` of batches that must not count (forged and the like)."""
    codec = BatchCodec(ids)
    skip = frozenset(refused)
    by_document: dict[DocumentId, dict[tuple[str, int], Op]] = {}
    result = Replayed()
    for index, record in enumerate(records):
        if index in skip:
            continue
        assert record.value is not None, "the op topic has no tombstones"
        batch = decode_body(codec.open(record.value).body)
        result.batches.add((batch.replica, record.partition, batch.number))
        for command in batch.commands:
            result.commands.add(command.id)
            for document, op in command.ops:
                op = op._replace(hlc=bounded(op.hlc, record.timestamp_ms))
                if space.collections[document.collection].document.fields[op.field].on_conflict != "silent":
                    op = op._replace(origin=command.origin(op, record.timestamp_ms))
                by_document.setdefault(document, {}).setdefault((op.replica, op.seq), op)
    codecs = {name: StateCodec(collection, ids) for name, collection in space.collections.items()}
    for document, ops in by_document.items():
        key = document_key(document)
        state, left = _fold(space, document, ops)
        result.ops += len(ops) - len(left)
        result.values[key] = codecs[document.collection].encode(document, state)
        if left:
            result.waiting[key] = left
    return result


def _fold(
    space: SpaceContract, document: DocumentId, ops: Mapping[tuple[str, int], Op]
) -> tuple[DocumentState, list[Op]]:
    kind = space.collections[document.collection].document
    state, left = kind.new(), list(ops.values())
    moved = True
    while left and moved:
        waiting = [op for op in left if kind.apply(state, op).outcome is Outcome.GAP]
        moved = len(waiting) < len(left)
        left = waiting
    return state, left
