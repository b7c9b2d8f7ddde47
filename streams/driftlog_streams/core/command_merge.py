"""Merging one command: it is decided inside the net, then carried out, or set aside until what it waits for is there.

What is to become of it says `decision`, when one that waits is looked at again `waiting`, and `execution` does what was decided. The chain row of one that waited learns
here what became of it; that of one that comes with its batch is written with the batch (`merge`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_streams.core import chain
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decider, Decision
from driftlog_streams.core.emitting import Emitter
from driftlog_streams.core.execution import Execution
from driftlog_streams.core.net import Net
from driftlog_streams.core.parking import Blocker, Parking
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.trial import Watch
from driftlog_streams.core.waiting import Waiting

Told: TypeAlias = Callable[[Arrival, CommandOutcome | None], None]
"""Hears what becomes of each command, None for plainly accepted; of one that waits once more when it is decided."""


def untold(arrival: Arrival, outcome: CommandOutcome | None) -> None:
    """Nobody but the rows says it."""


class CommandMerge:
    """Of one partition."""

    def __init__(self, partition: Partition, parking: Parking, emitter: Emitter, watch: Watch, told: Told) -> None:
        self._at = partition
        self._parking = parking
        self._told = told
        self.waiting = Waiting(parking, self._decide_again, self.released)
        decider = Decider(partition.rules, partition.cache, partition.memory, watch)
        self.net = Net(partition, decider, self.waiting)
        self._execution = Execution(partition, self.waiting, emitter)

    def merge(self, arrival: Arrival, known: CommandOutcome | None) -> tuple[CommandOutcome | None, Decision | None]:
        """What became of it, None for plainly accepted, and what was decided, if it was. `known` is what its row says, if anything."""
        if known is not None and known.verdict is Verdict.PARKED:
            known = None
        decision = self.net.decide(arrival, known)
        if isinstance(decision, Decision):
            return self._execution.carry_out(arrival, decision), decision
        return self._set_aside(arrival, decision, known), None

    def _set_aside(self, arrival: Arrival, blocker: Blocker, known: CommandOutcome | None) -> CommandOutcome:
        """It waits for this, if there is room."""
        if not self._parking.add(arrival, blocker):
            return CommandOutcome(arrival.command.id, Verdict.DEFERRED, "parking_full", "send it again later")
        work = self._at.work
        work.parked.append(arrival)
        work.outcomes.append(self._at.records.parked(arrival))
        if known is not None:
            return known
        reason = f"waits for change {blocker.seq} of {blocker.replica} to {blocker.key.decode()}"
        return CommandOutcome(arrival.command.id, Verdict.PARKED, "gap", reason)

    def _decide_again(self, arrival: Arrival) -> Decision | Blocker:
        """A command that waited. Its row may know what became of it, if a crash has let the row out before the states."""
        return self.net.decide(arrival, self._at.known(arrival))

    def released(self, arrival: Arrival, decision: Decision) -> None:
        """A command waits no longer: do what was decided, and let its row say so."""
        known = self._at.known(arrival)
        outcome = self._execution.carry_out(arrival, decision)
        self._told(arrival, outcome)
        self._at.work.released.append(arrival)
        row = self._at.book.get(arrival.batch.replica)
        if row is not None and known is None:
            row = chain.decided(row, arrival.batch.number, outcome or arrival.accepted, self._at.offset)
            plain = outcome is None and not decision.wide
            self._at.write_row(arrival.batch.replica, row, urgent=not plain)
