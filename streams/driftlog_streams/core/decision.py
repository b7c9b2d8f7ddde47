"""What is to become of one command: an arrival in, a verdict and its steps out. Nothing is changed here.

A command is merged whole or not at all. Before its first op is applied it is known that all can be: every dot is the next one
of its replica and every context is covered. Then the decision is made once and for ever:

    its chain row knows it       -> what was decided before: only what a crash has not let through is done again
    it came by another life      -> what was decided then; its dots are to be seen, without effect (`taken`)
    permit over, collection, field or value not declared here and of another release, or a document that this release cannot read
                                 -> deferred: nothing is seen, its device sends it again
    a document was purged and the command speaks of the old one
                                 -> rejected as `purged`: its ops there are not seen, its device runs it again; as `gone`, and seen,
                                    where a new life has taken it along: a person decides
    all dots covered             -> merged before
    something is missing         -> a blocker: it waits
    objection, guard, size       -> rejected: all its dots are to be seen, without effect; so is what was built on a rejected change
                                    of its writer, and what takes more than its writer's rights
    some dots covered, some not  -> rejected as malformed: else new ops would pass the guards beside an old one
    otherwise                    -> accepted: all its ops are to be applied

What is against it by itself `examination` says, what it touches `survey` finds out; where guards, size or rights have a say it is tried first (`trial`).
A *careful* decider tries everything, up to the bytes that would be published: the net turns to it when something has failed that
nobody foresaw, and so learns which command it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from driftlog_schemas.messages import Command, CommandOutcome, Verdict
from driftlog_schemas.tuples import maker
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.examination import Examiner
from driftlog_streams.core.memory import Memory
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import StateCache, Unreadable
from driftlog_streams.core.survey import Step, Survey, survey
from driftlog_streams.core.taken import GONE, without_effect
from driftlog_streams.core.trial import Against, Trial, Watch, leans_on_itself, on_copies, unfounded, unwatched


class Effect(Enum):
    """What the fresh steps of a decided command are to do."""

    NONE = "none"
    APPLY = "apply"
    SEE = "see"


_NONE, _APPLY = Effect.NONE, Effect.APPLY
"""Looked up once: an enum's members are found by a search each time."""


class Decision(NamedTuple):
    """What becomes of a command."""

    outcome: CommandOutcome | None
    """None where it is plainly accepted: nobody need be told."""
    effect: Effect = Effect.NONE
    steps: Sequence[Step] = ()
    trial: Trial | None = None
    """Where guards or the size had to be asked; else the ops are applied in place."""

    @property
    def wide(self) -> bool:
        """Does it change several documents, so that a crash can let a part of it through?"""
        steps = self.steps
        if len(steps) > 1:
            first = steps[0][0]
            for entry, _, _ in steps:
                if entry is not first:
                    return True
        return False


_decision_of = maker(Decision)


class Decider:
    """Decides the commands of one partition."""

    def __init__(self, rules: SpaceRules, cache: StateCache, memory: Memory, watch: Watch = unwatched) -> None:
        self._rules = rules
        self._examiner = Examiner(rules)
        self._memory = memory
        self._cache = cache
        self._watch = watch
        self.careful = False

    def decide(
        self, arrival: Arrival, known: CommandOutcome | None = None, first: CommandOutcome | None = None
    ) -> Decision | Blocker:
        """What becomes of a command now; the blocker if something is missing.

        `known` is what became of it before, at this very record; `first` what became of it where another record brought it.
        """
        try:
            if known is not None:
                return self._as_before(arrival, known)
            return self._decided(arrival) if first is None else self._elsewhere(arrival, first)
        except Unreadable as error:
            return _deferred(arrival, "quarantined", str(error))

    def _decided(self, arrival: Arrival) -> Decision | Blocker:
        examiner, against = self._examiner, None
        if not examiner.nothing_against(arrival):
            not_now = examiner.not_now(arrival)
            if not_now is not None:
                return _deferred(arrival, *not_now)
            against = examiner.objection(arrival)
            if against is None:
                examiner.found_good(arrival)
        steps, fresh, blocker, outlived, asked = self._survey(arrival, against is not None)
        if blocker is not None:
            return blocker
        if outlived is not None:
            against = against or _outlived(arrival.command, "/".join(outlived))
            return _rejected(arrival, against, steps)
        if steps and not fresh:
            return _decision_of((None, _NONE, steps, None))
        if against is None and fresh < len(steps):
            against = "invalid", "some of its changes were merged before and some were not"
        trial = None
        if against is None and (asked or self.careful):
            against, trial = self._tried(arrival, steps)
        if against is not None:
            return _rejected(arrival, against, steps)
        return _decision_of((None, _APPLY, steps, trial))

    def _elsewhere(self, arrival: Arrival, first: CommandOutcome) -> Decision | Blocker:
        """The first verdict stands, once this release and this permit take the command at all."""
        not_now = self._examiner.not_now(arrival) if first.verdict is not Verdict.DEFERRED else None
        return self._as_before(arrival, first) if not_now is None else _deferred(arrival, *not_now)

    def _as_before(self, arrival: Arrival, known: CommandOutcome) -> Decision | Blocker:
        """Its verdict stands; a crash may have let the row out before the states. Guards are not asked again."""
        if known.verdict is Verdict.DEFERRED:
            return Decision(known)
        idle = without_effect(known)
        steps, fresh, blocker, _, _ = self._survey(arrival, idle)
        if blocker is not None:
            return blocker
        if not fresh:
            return Decision(known, Effect.NONE, steps)
        if idle:
            return Decision(known, Effect.SEE, steps)
        against, trial = (
            on_copies(arrival, steps, self._memory, asked=False, careful=True) if self.careful else (None, None)
        )
        if against is not None:
            return _deferred(arrival, "quarantined", ": ".join(against))
        return Decision(known, Effect.APPLY, steps, trial)

    def blocker(self, arrival: Arrival, known: CommandOutcome | None, first: CommandOutcome | None) -> Blocker | None:
        """What is missing for a command now."""
        decided = self.decide(arrival, known, first)
        return decided if isinstance(decided, Blocker) else None

    def _survey(self, arrival: Arrival, rejected: bool) -> Survey:
        """Dedupe is by dot against the version vector only."""
        return survey(arrival, rejected, self._rules, self._cache, self._memory)

    def _tried(self, arrival: Arrival, steps: list[Step]) -> tuple[Against, Trial | None]:
        """Why its documents may not be as they would be after it, or the trial; neither where nobody need be asked."""
        growth = sum([weight for _, _, weight in steps])
        if (
            self.careful
            or leans_on_itself(steps)
            or any(entry.collection.guards or entry.size + growth > entry.collection.limit for entry, _, _ in steps)
        ):
            return on_copies(arrival, steps, self._memory, self._watch, asked=True, careful=self.careful)
        over = self._memory.over
        found = (unfounded(arrival, entry, entry.state, op, over) for entry, op, weight in steps if weight)
        return next(filter(None, found), None), None


def _outlived(command: Command, document: str) -> tuple[str, str]:
    if command.written is None:
        return "purged", f"{document} was deleted and is forgotten since"
    return GONE, f"{document} began after this was written; what was there before may have been deleted"


def _rejected(arrival: Arrival, against: tuple[str, str], steps: Sequence[Step]) -> Decision:
    return Decision(CommandOutcome(arrival.command.id, Verdict.REJECTED, *against), Effect.SEE, steps)


def _deferred(arrival: Arrival, code: str, reason: str) -> Decision:
    return Decision(CommandOutcome(arrival.command.id, Verdict.DEFERRED, code, reason))
