"""What a command touches: its ops with their documents, which of them are fresh, and the first thing that is missing.

An op is *fresh* when its dot is the next one of its replica on its document and its context is covered; a dot at or below the vector
is a duplicate. Whatever is beyond that waits for a *blocker*, the dot that must come first. Clocks are bounded here, so that
everything after works with the ops as they will be merged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from driftlog_crdt import DocumentState, Op, bounded, canonical, epoch_of
from driftlog_crdt.hlc import COUNTER_BITS, DEFAULT_BOUND_MS
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.memory import Memory
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rights import has_a_right
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache

_OP_OVERHEAD = 96
"""About how many bytes of state an op can add besides its value."""
_ORIGIN_OVERHEAD = 48
"""About how many bytes who wrote takes besides the names."""
_COUNTING = frozenset({"increment", "decrement"})
"""Kinds that add up in place."""


Step: TypeAlias = tuple[bytes, Entry, Op, int]
"""Document key, its entry, the op with its clock bounded, and about how many bytes it adds to the state: 0 where its dot is
covered already, more for a fresh op."""

Duplicate: TypeAlias = Callable[[DocumentState, Op, int], bool]
"""Is the op of a record at this offset in the state already?"""


class Survey(NamedTuple):
    """A command's ops with their documents, how many are fresh, and the first thing that is missing.

    `outlived` is a document that was purged, and perhaps began anew, since an op on it was written; such ops are no steps, but for those
    of a command that was taken along.
    """

    steps: list[Step]
    fresh: int
    blocker: Blocker | None = None
    outlived: DocumentId | None = None


def survey(
    arrival: Arrival, rejected: bool, rules: SpaceRules, cache: StateCache, duplicate: Duplicate, memory: Memory
) -> Survey:
    """Look up everything that a command touches. Raises `Unreadable`.

    A rejected command has no effect, so it needs no context; and where its device has no right at all, nothing of it is seen.
    """
    steps: list[Step] = []
    fresh, outlived, read, written = 0, None, arrival.read, arrival.written
    last: dict[bytes, int] = {}
    collections = rules.collections
    append_ms = arrival.append_ms
    latest = ((append_ms + DEFAULT_BOUND_MS + 1) << COUNTER_BITS) - 1
    for document, op in arrival.command.ops:
        collection = collections.get(document.collection)
        if collection is None:
            continue  # it was declared when this was decided
        if rejected and not has_a_right(collection.name, document.scope, arrival.device, rules.commands):
            continue
        key = document_key(document)
        entry = cache.get(key, document, collection)
        if collection.type.blank(entry.state):
            collection.type.begin(entry.state, memory.now.purged)
        if op.hlc > latest:
            op = op._replace(hlc=bounded(op.hlc, append_ms))
        if op.field in collection.policies:
            op = op._replace(origin=arrival.command.origin(op, append_ms))
        if duplicate(entry.state, op, arrival.offset):
            steps.append((key, entry, op, 0))
            continue
        vector = entry.state.vector
        replica, seq, _, _, _, _, context, *_ = op
        before = last.get(key) or vector.get(replica, 0)
        if memory.outlived(op, read, epoch_of(vector), before):
            outlived = document
            continue
        if seq != before + 1:
            return Survey(steps, fresh, Blocker(key, replica, seq - 1))
        if memory.gone(written, epoch_of(vector)):
            outlived = document  # its dot is seen
        elif context and not rejected:
            for r, s in context.items():
                if vector.get(r, 0) < s and r != replica and r not in memory:
                    return Survey(steps, fresh, Blocker(key, r, s))
        last[key] = seq
        fresh += 1
        steps.append((key, entry, op, _weight(op)))
    return Survey(steps, fresh, None, outlived)


def _weight(op: Op) -> int:
    if op.origin is not None:
        command_id, actor, *_ = op.origin
        return _value_weight(op) + len(command_id) + len(actor) + _ORIGIN_OVERHEAD
    return _value_weight(op)


def _value_weight(op: Op) -> int:
    value = op.value
    kind = value.__class__
    if kind is int and op.kind in _COUNTING:
        return 2
    if kind is str:
        return len(value) + _OP_OVERHEAD  # type: ignore[arg-type]  # is text
    if kind is list or kind is dict:
        return len(canonical(value)) + _OP_OVERHEAD
    return _OP_OVERHEAD if op.field else 2
