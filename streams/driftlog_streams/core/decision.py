"""What is to become of one command: an arrival in, a verdict and its steps out. Nothing is changed here.

A command is merged whole or not at all. Before its first op is applied it is known that all can be: every dot is the next one
of its replica and every context is covered. Then the decision is made once and for ever:

    the permit had ended       -> deferred: nothing is seen, the device sends it again when it has a new one
    all dots covered           -> duplicate; nothing changes, nothing is published but the receipt
    something is missing       -> a blocker: it waits
    objection, guard, size     -> rejected: all its dots are to be seen, without effect; so is what was built on a rejected
                                  change of its writer, and what takes more than its writer's rights
    otherwise                  -> accepted: all its ops are to be applied
    some dots covered          -> half seen (a crash tore its group): the decision it got before

Half seen can only be what a torn group held, so only a record up to the newest torn group may claim it. Later such a command
is malformed: were it believed, a device could slip new ops past the guards by putting an old one beside them.

What guards, size and rights look at is tried on copies of the states where it must be; the trial is part of the decision, so that
it is not done twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

import structlog

from driftlog_crdt import AlgebraError, BadOperation, DocumentState, Op, Outcome, Place, TooLarge, bounded, canonical
from driftlog_crdt.document_state import APPLIED, NO_EFFECT
from driftlog_crdt.hlc import COUNTER_BITS, DEFAULT_BOUND_MS
from driftlog_schemas.contract import Refused
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, CommandOutcome, Conflict, Verdict
from driftlog_streams.core import conflicts
from driftlog_streams.core.admission import objection
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import Entry, StateCache

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


class Survey(NamedTuple):
    """A command's ops with their documents, how many are fresh, and the first thing that is missing."""

    steps: list[Step]
    fresh: int
    blocker: Blocker | None = None


class Decider:
    """Decides the commands of one partition.

    `torn` are the dots known to be rejected in a torn tail, by document key; `torn_until` is the highest group number in that
    tail (None: not known, every record may be of it; -1: there is none).
    """

    def __init__(
        self,
        rules: SpaceRules,
        cache: StateCache,
        torn: Mapping[bytes, frozenset[tuple[str, int]]] | None = None,
        torn_until: int | None = None,
    ) -> None:
        self._rules = rules
        self._cache = cache
        self._torn = torn or {}
        self.torn_until = torn_until

    def decide(self, arrival: Arrival, offset: int) -> Decision | Blocker:
        """What becomes of a command now, while the record at `offset` is merged; the blocker if something is missing."""
        command = arrival.command
        if arrival.device.expired:
            return Decision(CommandOutcome(command.id, Verdict.DEFERRED, "expired", "the device's permit had ended"))
        against = objection(command, arrival.device, self._rules)
        steps, fresh, blocker = self.survey(arrival, offset, against is not None)
        if blocker is not None:
            return blocker
        if not fresh:
            if steps:
                return Decision(CommandOutcome(command.id, Verdict.DUPLICATE))
            if against is None:
                return Decision(CommandOutcome(command.id, _ACCEPTED))
            # Its collections are not declared: nothing to see, so it is rejected however often it comes.
        elif fresh < len(steps):
            settled = self._half_seen(command, steps, offset)
            if settled is not None:
                return settled
            against = against or ("invalid", "some of its changes were merged before and some were not")
        trial = None
        if against is None:
            against, trial = self._tried(arrival, steps)
        if against is not None:
            return Decision(CommandOutcome(command.id, Verdict.REJECTED, *against), Effect.SEE, steps)
        return Decision(CommandOutcome(command.id, _ACCEPTED), Effect.APPLY, steps, trial)

    def blocker(self, arrival: Arrival, offset: int) -> Blocker | None:
        """What is missing for a command now."""
        rejected = objection(arrival.command, arrival.device, self._rules) is not None
        return self.survey(arrival, offset, rejected).blocker

    def survey(self, arrival: Arrival, offset: int, rejected: bool) -> Survey:
        """Look up everything that a command touches.

        Ops of undeclared collections have nowhere to go. A rejected command has no effect, so it needs no context.
        """
        steps: list[Step] = []
        fresh = 0
        last: dict[bytes, int] = {}
        collections, cache, duplicate = self._rules.collections, self._cache, self.is_duplicate
        append_ms = arrival.append_ms
        latest = ((append_ms + DEFAULT_BOUND_MS + 1) << COUNTER_BITS) - 1
        for document, op in arrival.command.ops:
            collection = collections.get(document.collection)
            if collection is None:
                continue
            key = document_key(document)
            entry = cache.get(key, document, collection)
            if op.hlc > latest:
                op = op._replace(hlc=bounded(op.hlc, append_ms))
            if op.field in collection.policies:
                op = op._replace(origin=arrival.command.origin(op, append_ms))
            if duplicate(entry.state, op, offset):
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

    def _half_seen(self, command: Command, steps: list[Step], offset: int) -> Decision | None:
        """Its group was torn by a crash. Its covered dots say what was decided: rejected dots are kept beside them.

        None outside the torn tail. The rejection itself was delivered before the torn states were published, so the receipt
        repeats no reason.
        """
        if self.torn_until is not None and offset > self.torn_until:
            return None
        torn = self._torn
        if any((op.replica, op.seq) in torn.get(key, ()) for key, _, op, weight in steps if not weight):
            return Decision(CommandOutcome(command.id, Verdict.DUPLICATE), Effect.SEE, steps)
        return Decision(CommandOutcome(command.id, _ACCEPTED), Effect.APPLY, steps)

    def _tried(self, arrival: Arrival, steps: list[Step]) -> tuple[Against, Trial | None]:
        """Why its documents may not be as they would be after it, or the trial; neither where nobody need be asked."""
        growth = sum([weight for _, _, _, weight in steps])
        if not _leans_on_itself(steps) and not any(
            entry.collection.guards or entry.size + growth > entry.collection.limit for _, entry, _, _ in steps
        ):
            return next(filter(None, (_unfounded(e, e.state, op) for _, e, op, weight in steps if weight)), None), None
        entries = {key: entry for key, entry, _, _ in steps}
        states = {key: entry.collection.type.copy(entry.state) for key, entry in entries.items()}
        sizes = {key: entry.size for key, entry in entries.items()}
        done = Done([], [], [])
        for key, entry, op, weight in steps:
            if not weight:
                continue
            against = _unfounded(entry, states[key], op)
            if against is not None:
                return against, None
            sizes[key] += weight
            _apply(arrival, key, entry, states[key], op, done)
        for key, entry in entries.items():
            against = _too_large(entry, states[key], key, sizes) or _guarded(entry, states[key])
            if against is not None:
                return against, None
        return None, Trial(states, sizes, done)


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


def _guarded(entry: Entry, after: DocumentState) -> Against:
    document = entry.document
    for guard in entry.collection.guards:
        try:
            guard.check(document.scope, document.id, entry.state, after)
        except Refused as refused:
            return refused.code, refused.reason
        except Exception as error:  # noqa: BLE001  # the app's code: told to the device, never stops the queue
            log.error("guard failed", guard=guard.name, document="/".join(document), error=repr(error))
            return "guard_failed", f"guard {guard.name}: {error!r}"
    return None


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
