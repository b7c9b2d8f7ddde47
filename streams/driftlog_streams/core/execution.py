"""What was decided about a command is done: its ops are applied, or seen without effect, and what that means for flights and conflicts is noted.

Here it shows that an op had no effect, which nobody could tell before.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decision, Effect
from driftlog_streams.core.emitting import Emitter
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.survey import Step
from driftlog_streams.core.trial import apply_steps
from driftlog_streams.core.waiting import Waiting


class Execution:
    """Of one partition."""

    def __init__(self, partition: Partition, waiting: Waiting, emitter: Emitter) -> None:
        self._at = partition
        self._waiting = waiting
        self._emitter = emitter

    def carry_out(self, arrival: Arrival, decision: Decision) -> CommandOutcome | None:
        """Do it. The outcome, None for plainly accepted: that an op had no effect is known when it was applied. What is half done when it fails can be
        taken back with what was merged before.
        """
        try:
            return self._carried_out(arrival, decision)
        except Exception:
            for entry, _, weight in decision.steps:
                if weight and entry.key not in self._at.work.dirty:
                    self._at.work.changed(entry)
            raise

    def _carried_out(self, arrival: Arrival, decision: Decision) -> CommandOutcome | None:
        outcome, effect = decision.outcome, decision.effect
        if effect is Effect.APPLY:
            idle = self._apply(arrival, decision)
            if idle and (outcome is None or outcome.verdict is Verdict.ACCEPTED):
                reason = f"{'/'.join(idle[0])} was deleted meanwhile, or what it refers to is not there"
                outcome = CommandOutcome(arrival.command.id, Verdict.NO_EFFECT, "no_effect", reason)
        elif effect is Effect.SEE:
            self._see(decision.steps)
        if outcome is not None and outcome.verdict is Verdict.REJECTED and arrival.dropped_at < 0:
            self._at.work.rejected[outcome.code] += 1
        if arrival.command.root:
            self._at.keep_decided(arrival, outcome or arrival.accepted)
        return outcome

    def _apply(self, arrival: Arrival, decision: Decision) -> Sequence[DocumentId]:
        """Make the command's changes. Where one of them had no effect."""
        steps, trial = decision.steps, decision.trial
        before = self._emitter.before(steps, tried=trial is not None)
        if trial is None:
            done = apply_steps(arrival, steps, self._at.memory)
        else:
            done = trial.done
            for entry, _, _ in steps:
                entry.state, entry.size = trial.states[entry.key], trial.sizes[entry.key]
        self._changed(steps)
        self._emitter.changed(arrival, before)
        if done is None:
            return ()
        for conflict in done.ended:
            self._at.ended(conflict)
        self._at.work.contested.update(dict.fromkeys(done.contested))
        return done.idle

    def _see(self, steps: Sequence[Step]) -> None:
        """Count the fresh ops as seen, without effect."""
        for entry, op, weight in steps:
            if weight:
                entry.collection.type.see(entry.state, op)
        self._changed(steps)

    def _changed(self, steps: Sequence[Step]) -> None:
        """The fresh ops of these are merged."""
        work, moved = self._at.work, self._waiting.moved
        somebody_waits = bool(self._waiting.parking)
        for entry, op, weight in steps:
            if not weight:
                continue
            if not op.before:
                self._at.memory.fold(entry)
            if entry.key not in work.dirty:
                work.changed(entry)
            if somebody_waits:
                moved[entry.key, op.replica] = entry
