"""What a command touches: its ops with their documents, which of them are fresh, and the first thing that is missing.

An op is *fresh* when its dot (the first that it takes) is the next one of its replica on its document and its context is covered; a dot at or below
the vector is a duplicate. An op of whose dots some are merged and some are not is both; no agent of ours sends such a one, unless its row was lost. Whatever is beyond that waits for a *blocker*, the dot that must come first. Clocks are bounded here, so that
everything after works with the ops as they will be merged.
"""

from __future__ import annotations

from typing import TypeAlias

from driftlog_crdt import PAST, SETTLER, Op, Vector, bounded, canonical, epoch_of
from driftlog_crdt.hlc import COUNTER_BITS, DEFAULT_BOUND_MS
from driftlog_schemas.forgetting_codec import MAX_SETTLE
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.memory import Memory
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rights import has_a_right
from driftlog_streams.core.rules import MAX_STATE_BYTES, SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache

_OP_OVERHEAD = 96
"""About how many bytes of state an op can add besides its value."""
_ORIGIN_OVERHEAD = 48
"""About how many bytes who wrote takes besides the names."""
_COUNTED = 2
"""How many it does where it adds up in place, and nobody asks who wrote."""
_COUNTING = frozenset({"increment", "decrement"})
"""Kinds that add up in place."""


Step: TypeAlias = tuple[Entry, Op, int]
"""A document's entry, the op with its clock bounded, and about how many bytes it adds to the state: 0 where its dot is covered
already, more for a fresh op."""


Survey: TypeAlias = tuple[list[Step], int, Blocker | None, DocumentId | None, bool]
"""A command's ops with their documents, how many are fresh, the first thing that is missing, what is outlived, and whether anybody is asked.

*Outlived* is a document that was purged, and perhaps began anew, since an op on it was written; such ops are no steps, but for those of a
command that was taken along. *Asked* are guards, sizes and rights, and what was refused: where none of them has a say, nothing can be
against a command whose ops are all fresh.
"""


def survey(arrival: Arrival, rejected: bool, rules: SpaceRules, cache: StateCache, memory: Memory) -> Survey:
    """Look up everything that a command touches. Raises `Unreadable`.

    A rejected command has no effect, so it needs no context; and where its device has no right at all, nothing of it is seen.
    """
    command, append_ms, collections = arrival.command, arrival.append_ms, rules.collections
    replica = arrival.batch.replica
    latest = ((append_ms + DEFAULT_BOUND_MS + 1) << COUNTER_BITS) - 1
    steps: list[Step] = []
    last: dict[Entry, int] = {}
    outlived, asked = None, False
    fresh, growth, room = 0, 0, MAX_STATE_BYTES
    for document, op in command.ops:
        collection = collections.get(document.collection)
        if collection is None:
            continue  # it was declared when this was decided
        if rejected and not has_a_right(collection.name, document.scope, arrival.device, rules):
            continue
        entry = cache.get(document, collection)
        state = entry.state
        vector = state.vector
        begun = PAST in vector
        if begun or not vector:
            _begin(entry, memory)
            vector = state.vector
            begun = PAST in vector
        _, seq, hlc, field, kind, value, context, _, _, span = op
        before = vector.get(replica, 0)
        if hlc > latest:
            op = op._replace(hlc=bounded(hlc, append_ms))
        if field in collection.policies:
            op = op._replace(origin=command.origin(op, append_ms))
        if seq <= before:
            steps.append((entry, op, 0))
            continue
        before = last.get(entry, before)
        if begun and memory.outlived(op, arrival.read, epoch_of(vector), before):
            outlived = document
            continue
        if seq - span > before:
            return steps, fresh, Blocker(entry.key, replica, seq - span), None, False
        if begun and memory.gone(arrival.written, epoch_of(vector)):
            outlived = document  # its dot is seen
        elif context and not rejected:
            blocker = _missing(entry, replica, context, memory, arrival.offset * MAX_SETTLE)
            if blocker is not None:
                return steps, fresh, blocker, None, False
        last[entry] = seq
        fresh += 1
        if seq - span < before:
            steps.append((entry, op, 0))
        weight = _COUNTED if kind in _COUNTING and value.__class__ is int and op.origin is None else _weight(op)
        steps.append((entry, op, weight))
        growth += weight
        if collection.limit - entry.size < room:
            room = collection.limit - entry.size
        if collection.asked or state.refused or arrival.written is not None:
            asked = True
    return steps, fresh, None, outlived, asked or growth > room


def _begin(entry: Entry, memory: Memory) -> None:
    """What is written where nothing is begins after what was purged there."""
    kind, state = entry.collection.type, entry.state
    if kind.blank(state):
        kind.begin(state, memory.now.purged)


def _missing(entry: Entry, writer: str, context: Vector, memory: Memory, settlements: int) -> Blocker | None:
    """The first change that a writer had seen and that is not merged. There were `settlements` before it in the log at the very most: none of these is still to come."""
    vector = entry.state.vector
    for replica, seq in context.items():
        if vector.get(replica, 0) < seq and replica != writer and replica not in memory:
            if replica == SETTLER and seq <= settlements:
                continue
            return Blocker(entry.key, replica, seq)
    return None


def _weight(op: Op) -> int:
    _, _, _, field, kind, value, _, _, origin, _ = op
    kept = 0 if origin is None else len(origin.command_id) + len(origin.actor) + _ORIGIN_OVERHEAD
    form = value.__class__
    if form is int and kind in _COUNTING:
        return _COUNTED + kept
    if form is str:
        return len(value) + _OP_OVERHEAD + kept  # type: ignore[arg-type]  # is text
    if form is list or form is dict:
        return len(canonical(value)) + _OP_OVERHEAD + kept
    return (_OP_OVERHEAD if field else 2) + kept
