"""A command on its documents: applied in place, or tried on copies of them first.

What guards, size and rights look at is tried on copies where it must be; the trial then is part of the decision, so that it is not
done twice. A *careful* trial goes up to the bytes that would be published.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeAlias

import structlog

from driftlog_crdt import SETTLER, Applied, BadOperation, DocumentState, Op, Outcome, Place, TooLarge
from driftlog_crdt.document_state import APPLIED, NO_EFFECT
from driftlog_schemas import bounds
from driftlog_schemas.contract import GuardContract, Refused
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict
from driftlog_streams.core import conflicts
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.memory import Memory
from driftlog_streams.core.rules import MAX_RECORD_BYTES
from driftlog_streams.core.state_cache import Entry
from driftlog_streams.core.survey import Step
from driftlog_streams.core.taken import GONE, NO_RIGHTS

log = structlog.get_logger()

Against: TypeAlias = "tuple[str, str] | None"
"""Code and reason of a rejection."""

_OVER = "what a life sends that is forgotten by name was refused: its dots cannot be told from new ones any more"

Watch: TypeAlias = Callable[[str, str], AbstractContextManager[None]]
"""Bounds the run of the guard of this name on this command; the rim has a clock for it. What it raises is not the app's to catch."""


class Overrun(Exception):
    """What is watched ran for too long."""


def unwatched(guard: str, command: str) -> AbstractContextManager[None]:
    """A guard may run as long as it likes."""
    return nullcontext()


class Done(NamedTuple):
    """What applying a command has brought, besides states."""

    ended: list[Conflict]
    """The conflicts that it has ended."""
    contested: list[tuple[bytes, Place]]
    """Document key and place of those that stand and have changed."""
    idle: list[DocumentId]
    """Where one of its ops had no effect."""


class Trial(NamedTuple):
    """A command that was tried on copies: the states after it, about how large they are, and what it has brought."""

    states: Mapping[bytes, DocumentState]
    sizes: Mapping[bytes, int]
    done: Done


def on_copies(
    arrival: Arrival, steps: Sequence[Step], memory: Memory, watch: Watch = unwatched, *, asked: bool, careful: bool
) -> tuple[Against, Trial | None]:
    """Try a command: why its documents may not be as they would be after it, or the trial.

    `asked`: have rights, guards and sizes a say? `careful`: make the records as they would be sent.
    """
    entries = {entry.key: entry for entry, _, _ in steps}
    states = {key: entry.collection.type.copy(entry.state) for key, entry in entries.items()}
    sizes = {key: entry.size for key, entry in entries.items()}
    assert arrival.batch.replica not in memory, _OVER
    done = Done([], [], [])
    for entry, op, weight in steps:
        if not weight:
            continue
        state = states[entry.key]
        against = unfounded(arrival, entry, state, op, memory.over) if asked else None
        if against is not None:
            return against, None
        sizes[entry.key] += weight
        applied = _taken(entry, state, op)
        if applied is not APPLIED:
            _note(arrival, entry, state, op, applied, done)
    for key, entry in entries.items():
        against = (
            _too_large(entry, states[key], steps, sizes) or _guarded(arrival, entry, states[key], watch)
            if asked
            else None
        )
        if against is None and careful:
            against = _unpublishable(entry, states[key], key)
        if against is not None:
            return against, None
    return None, Trial(states, sizes, done)


def _guarded(arrival: Arrival, entry: Entry, after: DocumentState, watch: Watch) -> Against:
    for guard in entry.collection.guards:
        with watch(guard.name, arrival.key.decode()):
            against = _asked(guard, entry, after)
        if against is not None:
            return against
    return None


def _asked(guard: GuardContract, entry: Entry, after: DocumentState) -> Against:
    document = entry.document
    try:
        guard.check(document.scope, document.id, entry.state, after)
    except Refused as refused:
        return bounds.cut(str(refused.code), bounds.MAX_CODE), bounds.cut(str(refused.reason), bounds.MAX_REASON)
    except MemoryError:
        raise  # how much memory there is may not become a verdict
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the app's code: told to the device, never stops the queue
        fact = type(error).__name__
        log.error("guard failed", guard=guard.name, document="/".join(document), error=fact)
        return "guard_failed", f"guard {guard.name}: {fact}"
    return None


def apply_steps(arrival: Arrival, steps: Sequence[Step], memory: Memory) -> Done | None:
    """Apply the fresh ops in place. None where that has brought nothing besides states, as nearly always."""
    assert arrival.batch.replica not in memory, _OVER
    done = None
    for entry, op, weight in steps:
        if weight:
            entry.size += weight
            applied = _taken(entry, entry.state, op)
            if applied is not APPLIED:
                done = done or Done([], [], [])
                _note(arrival, entry, entry.state, op, applied, done)
    return done


def _taken(entry: Entry, state: DocumentState, op: Op) -> Applied:
    if op.context and SETTLER in op.context:
        entry.collection.type.pass_over(state, op.context)
    return entry.collection.type.take(state, op)


def _note(arrival: Arrival, entry: Entry, state: DocumentState, op: Op, applied: Applied, done: Done) -> None:
    """The op competes with another, has ended a conflict, or had no effect."""
    if applied is NO_EFFECT:
        done.idle.append(entry.document)
        return
    collection = entry.collection
    assert applied.outcome is Outcome.APPLIED, f"{applied.outcome} for an op known to be next: {op}"
    for before in applied.ended:
        record = conflicts.ended(entry.document, collection, arrival, op, state, before)
        if record is not None:
            done.ended.append(record)
    done.contested.extend((entry.key, place) for place in applied.contested if place.field in collection.policies)


def leans_on_itself(steps: Sequence[Step]) -> bool:
    """Can it be that an op is founded only if an earlier one of the command has been applied?"""
    touched: set[Entry] = set()
    for entry, op, weight in steps:
        if weight and entry in touched and (entry.collection.type.limited or op.replica in entry.state.refused):
            return True
        touched.add(entry)
    return False


def unfounded(arrival: Arrival, entry: Entry, state: DocumentState, op: Op, over: Container[str]) -> Against:
    """Is `state` without what the op stands on: a rejected change that its writer believed in, its writer's rights, or, of an op that a new
    life has taken along, what it names?
    """
    kind = entry.collection.type
    if kind.builds_on_refused(state, op):
        return "builds_on_refused", f"{'/'.join(entry.document)}: written on a change of this device that was refused"
    if arrival.written is not None and not kind.finds(state, op):
        return GONE, f"{'/'.join(entry.document)}: what this stands beside is forgotten since it was written"
    try:
        kind.permit(state, op, over)
    except BadOperation as error:
        return NO_RIGHTS if arrival.command.root else "invalid", str(error)
    return None


def _too_large(entry: Entry, after: DocumentState, steps: Sequence[Step], sizes: dict[bytes, int]) -> Against:
    """Over its guard? Where the estimate is, the state is measured."""
    collection, key = entry.collection, entry.key
    if sizes[key] <= collection.limit:
        return None
    try:
        sizes[key] = len(collection.type.encode(after))
    except TooLarge:
        sizes[key] = collection.limit + 1
    if sizes[key] <= collection.limit:
        return None
    changed = sorted({op.field for changed, op, weight in steps if changed is entry and weight})
    return (
        "too_large",
        f"{'/'.join(entry.document)} would be over {collection.limit} bytes with this in {', '.join(changed)}",
    )


def _unpublishable(entry: Entry, after: DocumentState, key: bytes) -> Against:
    """Its record, as it would be sent."""
    try:
        size = len(entry.collection.codec.encode(entry.document, after)) + len(key)
    except TooLarge as error:
        return "too_large", str(error)
    if size <= MAX_RECORD_BYTES:
        return None
    return "too_large", f"{'/'.join(entry.document)} would be a record of {size} bytes, at most {MAX_RECORD_BYTES}"
