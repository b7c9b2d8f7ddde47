"""What is to become of one command: an arrival in, a verdict and its steps out. Nothing is changed here.

A command is merged whole or not at all. Before its first op is applied it is known that all can be: every dot is the next one
of its replica and every context is covered. Then the decision is made once and for ever:

    its chain row knows it       -> what was decided before: only what a crash has not let through is done again
    permit over, collection not declared here, or a document that this release cannot read
                                 -> deferred: nothing is seen, its device sends it again
    all dots covered             -> merged before
    something is missing         -> a blocker: it waits
    objection, guard, size       -> rejected: all its dots are to be seen, without effect; so is what was built on a rejected change
                                    of its writer, and what takes more than its writer's rights
    some dots covered, some not  -> rejected as malformed: else new ops would pass the guards beside an old one
    otherwise                    -> accepted: all its ops are to be applied

What guards, size and rights look at is tried on copies of the states where it must be; the trial is part of the decision, so that
it is not done twice.
A *careful* decider tries everything, up to the bytes that would be published: the merge turns to it when something has failed that
nobody foresaw, and so learns which command it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import NamedTuple, TypeAlias

import structlog

from driftlog_crdt import AlgebraError, BadOperation, DocumentState, Op, Outcome, Place, TooLarge, bounded, canonical
from driftlog_crdt.document_state import APPLIED, NO_EFFECT
from driftlog_crdt.hlc import COUNTER_BITS, DEFAULT_BOUND_MS
from driftlog_schemas import bounds
from driftlog_schemas.contract import GuardContract, Refused
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, CommandOutcome, Conflict, Verdict
from driftlog_streams.core import conflicts
from driftlog_streams.core.admission import objection
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rights import has_a_right
from driftlog_streams.core.rules import MAX_RECORD_BYTES, SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache, Unreadable

log = structlog.get_logger()

_OP_OVERHEAD = 96
"""About how many bytes of state an op can add besides its value."""
_ORIGIN_OVERHEAD = 48
"""About how many bytes who wrote takes besides the names."""
_ACCEPTED = Verdict.ACCEPTED
"""Looked up once: an enum's members are found by a search each time."""
_COUNTING = frozenset({"increment", "decrement"})
"""Kinds that add up in place."""

Against: TypeAlias = "tuple[str, str] | None"
"""Code and reason of a rejection."""

Step: TypeAlias = tuple[bytes, Entry, Op, int]
"""Document key, its entry, the op with its clock bounded, and about how many bytes it adds to the state: 0 where its dot is
covered already, more for a fresh op."""

Watch: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Bounds the run of the guard of this name; the rim has a clock for it. What it raises is not the app's to catch."""


def unwatched(name: str) -> AbstractContextManager[None]:
    """A guard may run as long as it likes."""
    return nullcontext()


class Effect(Enum):
    """What the fresh steps of a decided command are to do."""

    NONE = "none"
    APPLY = "apply"
    SEE = "see"


class Done(NamedTuple):
    """What applying a command has brought."""

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


class Decision(NamedTuple):
    """What becomes of a command."""

    outcome: CommandOutcome
    effect: Effect = Effect.NONE
    steps: Sequence[Step] = ()
    trial: Trial | None = None
    """Where guards or the size had to be asked; else the ops are applied in place."""

    @property
    def wide(self) -> bool:
        """Does it change several documents, so that a crash can let a part of it through?"""
        steps = self.steps
        return len(steps) > 1 and any(key != steps[0][0] for key, _, _, _ in steps)


class Survey(NamedTuple):
    """A command's ops with their documents, how many are fresh, and the first thing that is missing."""

    steps: list[Step]
    fresh: int
    blocker: Blocker | None = None


class Decider:
    """Decides the commands of one partition."""

    def __init__(self, rules: SpaceRules, cache: StateCache, watch: Watch = unwatched) -> None:
        self._rules = rules
        self._cache = cache
        self._watch = watch
        self.careful = False

    def decide(self, arrival: Arrival, known: CommandOutcome | None = None) -> Decision | Blocker:
        """What becomes of a command now; the blocker if something is missing. `known` is what became of it before."""
        try:
            return self._decided(arrival) if known is None else self._as_before(arrival, known)
        except Unreadable as error:
            return _deferred(arrival.command, "quarantined", str(error))

    def _decided(self, arrival: Arrival) -> Decision | Blocker:
        command = arrival.command
        if arrival.device.expired:
            return _deferred(command, "expired", "the device's permit had ended")
        for document, _ in command.ops:
            if document.collection not in self._rules.collections:
                return _deferred(command, "undeclared", f"collection {document.collection!r} is not declared here yet")
        against = objection(command, arrival.device, self._rules)
        steps, fresh, blocker = self.survey(arrival, against is not None)
        if blocker is not None:
            return blocker
        if steps and not fresh:
            return Decision(CommandOutcome(command.id, _ACCEPTED), Effect.NONE, steps)
        if against is None and fresh < len(steps):
            against = "invalid", "some of its changes were merged before and some were not"
        trial = None
        if against is None:
            against, trial = self._tried(arrival, steps)
        if against is not None:
            return Decision(CommandOutcome(command.id, Verdict.REJECTED, *against), Effect.SEE, steps)
        return Decision(CommandOutcome(command.id, _ACCEPTED), Effect.APPLY, steps, trial)

    def _as_before(self, arrival: Arrival, known: CommandOutcome) -> Decision | Blocker:
        """Its verdict stands; a crash may have let the row out before the states. Guards are not asked again."""
        if known.verdict is Verdict.DEFERRED:
            return Decision(known)
        rejected = known.verdict is Verdict.REJECTED
        steps, fresh, blocker = self.survey(arrival, rejected)
        if blocker is not None:
            return blocker
        if not fresh:
            return Decision(known, Effect.NONE, steps)
        if rejected:
            return Decision(known, Effect.SEE, steps)
        against, trial = self._on_copies(arrival, steps, asked=False) if self.careful else (None, None)
        if against is not None:
            return _deferred(arrival.command, "quarantined", ": ".join(against))
        return Decision(known, Effect.APPLY, steps, trial)

    def blocker(self, arrival: Arrival, known: CommandOutcome | None) -> Blocker | None:
        """What is missing for a command now."""
        decided = self.decide(arrival, known)
        return decided if isinstance(decided, Blocker) else None

    def survey(self, arrival: Arrival, rejected: bool) -> Survey:
        """Look up everything that a command touches. Raises `Unreadable`.

        A rejected command has no effect, so it needs no context; and where its device has no right at all, nothing of it is seen.
        """
        steps: list[Step] = []
        fresh = 0
        last: dict[bytes, int] = {}
        rules = self._rules
        collections, cache, duplicate = rules.collections, self._cache, self.is_duplicate
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
            if op.hlc > latest:
                op = op._replace(hlc=bounded(op.hlc, append_ms))
            if op.field in collection.policies:
                op = op._replace(origin=arrival.command.origin(op, append_ms))
            if duplicate(entry.state, op, arrival.offset):
                steps.append((key, entry, op, 0))
                continue
            vector = entry.state.vector
            replica, seq, _, _, _, _, context, *_ = op
            if seq != (last.get(key) or vector.get(replica, 0)) + 1:
                return Survey(steps, fresh, Blocker(key, replica, seq - 1))
            if context and not rejected:
                for r, s in context.items():
                    if vector.get(r, 0) < s and r != replica:
                        return Survey(steps, fresh, Blocker(key, r, s))
            last[key] = seq
            fresh += 1
            steps.append((key, entry, op, _weight(op)))
        return Survey(steps, fresh)

    def is_duplicate(self, state: DocumentState, op: Op, offset: int) -> bool:
        """Dedupe is by dot against the version vector only."""
        return op.seq <= state.vector.get(op.replica, 0)

    def _tried(self, arrival: Arrival, steps: list[Step]) -> tuple[Against, Trial | None]:
        """Why its documents may not be as they would be after it, or the trial; neither where nobody need be asked."""
        growth = sum([weight for _, _, _, weight in steps])
        if (
            self.careful
            or _leans_on_itself(steps)
            or any(entry.collection.guards or entry.size + growth > entry.collection.limit for _, entry, _, _ in steps)
        ):
            return self._on_copies(arrival, steps, asked=True)
        return next(filter(None, (_unfounded(e, e.state, op) for _, e, op, weight in steps if weight)), None), None

    def _on_copies(self, arrival: Arrival, steps: list[Step], *, asked: bool) -> tuple[Against, Trial | None]:
        entries = {key: entry for key, entry, _, _ in steps}
        states = {key: entry.collection.type.copy(entry.state) for key, entry in entries.items()}
        sizes = {key: entry.size for key, entry in entries.items()}
        done = Done([], [], [])
        for key, entry, op, weight in steps:
            if not weight:
                continue
            against = _unfounded(entry, states[key], op) if asked else None
            if against is not None:
                return against, None
            sizes[key] += weight
            _apply(arrival, key, entry, states[key], op, done)
        for key, entry in entries.items():
            against = _too_large(entry, states[key], key, sizes) or self._guarded(entry, states[key]) if asked else None
            if against is None and self.careful:
                against = _unpublishable(entry, states[key], key)
            if against is not None:
                return against, None
        return None, Trial(states, sizes, done)

    def _guarded(self, entry: Entry, after: DocumentState) -> Against:
        for guard in entry.collection.guards:
            with self._watch(guard.name):
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


def _deferred(command: Command, code: str, reason: str) -> Decision:
    return Decision(CommandOutcome(command.id, Verdict.DEFERRED, code, reason))


def apply_steps(arrival: Arrival, steps: Sequence[Step]) -> Done:
    """Apply the fresh ops in place."""
    done = Done([], [], [])
    for key, entry, op, weight in steps:
        if weight:
            _apply(arrival, key, entry, entry.state, op, done)
    return done


def _apply(arrival: Arrival, key: bytes, entry: Entry, state: DocumentState, op: Op, done: Done) -> None:
    collection = entry.collection
    try:
        applied = collection.type.apply(state, op)
    except AlgebraError as error:  # checked before: only a defect in a field type comes here
        raise AssertionError(f"a checked op was refused by {collection.name}: {error}") from error
    if applied is APPLIED:
        return  # nothing competes with it and nothing was ended
    if applied is NO_EFFECT:
        done.idle.append(entry.document)
        return
    assert applied.outcome is Outcome.APPLIED, f"{applied.outcome} for an op known to be next: {op}"
    for before in applied.ended:
        record = conflicts.ended(entry.document, collection, arrival, op, state, before)
        if record is not None:
            done.ended.append(record)
    done.contested.extend((key, place) for place in applied.contested if place.field in collection.policies)


def _leans_on_itself(steps: Sequence[Step]) -> bool:
    """Can it be that an op is founded only if an earlier one of the command has been applied?"""
    touched: set[bytes] = set()
    for key, entry, op, weight in steps:
        if weight and key in touched and (entry.collection.type.limited or op.replica in entry.state.refused):
            return True
        touched.add(key)
    return False


def _unfounded(entry: Entry, state: DocumentState, op: Op) -> Against:
    """Is `state` without what the op stands on: a rejected change that its writer believed in, or its writer's rights?"""
    kind = entry.collection.type
    if kind.builds_on_refused(state, op):
        return "builds_on_refused", f"{'/'.join(entry.document)}: written on a change of this device that was refused"
    try:
        kind.permit(state, op)
    except BadOperation as error:
        return "invalid", str(error)
    return None


def _too_large(entry: Entry, after: DocumentState, key: bytes, sizes: dict[bytes, int]) -> Against:
    """Over its guard? Where the estimate is, the state is measured."""
    collection = entry.collection
    if sizes[key] <= collection.limit:
        return None
    try:
        sizes[key] = len(collection.type.encode(after))
    except TooLarge:
        sizes[key] = collection.limit + 1
    if sizes[key] <= collection.limit:
        return None
    return "too_large", f"{'/'.join(entry.document)} would be over {collection.limit} bytes"


def _unpublishable(entry: Entry, after: DocumentState, key: bytes) -> Against:
    """Its record, as it would be sent."""
    try:
        size = len(entry.collection.codec.encode(entry.document, after)) + len(key)
    except TooLarge as error:
        return "too_large", str(error)
    if size <= MAX_RECORD_BYTES:
        return None
    return "too_large", f"{'/'.join(entry.document)} would be a record of {size} bytes, at most {MAX_RECORD_BYTES}"


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
