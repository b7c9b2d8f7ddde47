"""What was decided about a command is done: its ops are applied, or seen without effect, and what that means for flights and conflicts is noted.

Here it shows that an op had no effect, which nobody could tell before.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decision, Effect
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.state_cache import Entry
from driftlog_streams.core.survey import Step
from driftlog_streams.core.trial import apply_steps
from driftlog_streams.core.waiting import Waiting


class Execution:
    """Of one partition."""

    def __init__(self, partition: Partition, waiting: Waiting) -> None:
        self._at = partition
        self._waiting = waiting

    def carry_out(self, arrival: Arrival, decision: Decision) -> CommandOutcome:
        """Do it. The outcome: that an op had no effect is known when it was applied."""
        outcome = decision.outcome
        if decision.effect is Effect.APPLY:
            idle = self._apply(arrival, decision)
            if idle and outcome.verdict is Verdict.ACCEPTED:
                reason = f"{'/'.join(idle[0])} was deleted meanwhile, or what it refers to is not there"
                outcome = CommandOutcome(outcome.command_id, Verdict.NO_EFFECT, "no_effect", reason)
        elif decision.effect is Effect.SEE:
            self._see(decision.steps)
        if outcome.verdict is Verdict.REJECTED and arrival.dropped_at < 0:
            self._at.work.rejections += 1
        self._at.keep_decided(arrival, outcome)
        return outcome

    def _apply(self, arrival: Arrival, decision: Decision) -> Sequence[DocumentId]:
        """Make the command's changes. Where one of them had no effect."""
        trial = decision.trial
        done = apply_steps(arrival, decision.steps, self._at.memory) if trial is None else trial.done
        for key, entry, op, weight in decision.steps:
            if not weight:
                continue
            if trial is None:
                entry.size += weight
            else:
                entry.state, entry.size = trial.states[key], trial.sizes[key]
            self._at.memory.fold(entry, op)
            self._changed(key, entry, op.replica)
        self._at.work.outcomes += map(self._at.records.conflict, done.ended)
        self._at.work.contested.update(dict.fromkeys(done.contested))
        return done.idle

    def _see(self, steps: Sequence[Step]) -> None:
        """Count the fresh ops as seen, without effect."""
        for key, entry, op, weight in steps:
            if weight:
                entry.collection.type.see(entry.state, op)
                self._at.memory.fold(entry, op)
                self._changed(key, entry, op.replica)

    def _changed(self, key: bytes, entry: Entry, replica: str) -> None:
        if key not in self._at.work.dirty:
            self._at.work.changed(key, entry)
        if self._waiting.parking:
            self._waiting.moved[key, replica] = entry
