"""What the log and the cloud say of our batches, and what follows: which one is closed, goes again, is refused; what runs again.

The rows were read and decided by `incoming/verdicts`; the writes that follow are in the store. Here the shipper, the log of the process
and those who run commands again are told.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from driftlog_crdt.hlc import DEFAULT_BOUND_MS
from driftlog_edge.asking.rerun import Rerun
from driftlog_edge.incoming.answered import Answered
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Clock, Sealed
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.journal import Journal

log = structlog.get_logger()

UNANSWERED_SECONDS = 30.0
"""How long a batch may lie in the log without an answer before somebody is told to look for the workers."""


class Replies:
    """Follows what becomes of the batches of one agent."""

    def __init__(self, shipper: Shipper, rerun: Rerun, journal: Journal, clock: Clock) -> None:
        self._shipper = shipper
        self._rerun = rerun
        self._journal = journal
        self._clock = clock
        self._unanswered_since: float | None = None
        """Since when the log has batches of ours that nobody answers."""
        self._refusal = ""
        """Why the cloud does not believe this device's batches."""
        self._deferred = shipper.why_holding
        """Why it does not take some commands for now, or did not when it was asked the last time."""
        self._undelivered = ""
        """Why the log did not take a batch."""
        self.skew_ms = 0
        """How far this device's clock is ahead of the broker's, as it was when the log last took a batch; negative behind it, 0 within the bound."""

    @property
    def problem(self) -> str:
        """Why what was sent comes to nothing, in words; empty when all is well."""
        return self._refusal or self._undelivered or self._held() or self._unanswered()

    def _held(self) -> str:
        holding = self._shipper.holding
        if holding:
            return f"the cloud does not take {holding} commands for now: {self._deferred}"
        unanswered = not (self._shipper.idle and self._shipper.settled)
        return (
            f"the cloud is asked again for what it did not take: {self._deferred}"
            if self._deferred and unanswered
            else ""
        )

    def _unanswered(self) -> str:
        since = self._unanswered_since
        if since is None or self._shipper.settled or self._clock.monotonic() - since < UNANSWERED_SECONDS:
            return ""  # settled it may be because its life is over, and what it had sent with it
        return "what was sent is not answered: is a worker running? (`driftlog worker`)"

    def delivered(self, batch: Sealed, now: float) -> None:
        """The log has it."""
        self._undelivered = ""
        if batch.append_ms:
            ahead = self._clock.wall_ms() - batch.append_ms
            self.skew_ms = ahead if abs(ahead) > DEFAULT_BOUND_MS else 0
        self._shipper.delivered(batch, now)
        if self._unanswered_since is None:
            self._unanswered_since = now

    def failed(self, batch: Sealed, error: str) -> None:
        """The log did not take it, and says why."""
        log.warning("a batch was not delivered", topic=batch.topic, number=batch.number, error=error)
        self._undelivered = f"{batch.topic} takes no batch: {error}"
        if batch.lsns:  # else it only ends a life, and who sent it sends it again
            self._shipper.not_taken(batch, self._clock.monotonic())

    def pulled(self, pulled: Pulled, now: float) -> None:
        """Rows and notices have come, and what they mean is in the store."""
        for answer in pulled.answered:
            self._answered(answer, now)
        for space, partition, notice in pulled.refused:
            if self._shipper.refused(space, partition, now):  # else it is an old one, or a forger's
                self._refusal = f"the cloud refuses this device's batches: {notice.code}: {notice.reason}"
                log.error("batch refused", code=notice.code, reason=notice.reason)

    def _answered(self, answer: Answered, now: float) -> None:
        for place in answer.closed:
            self._shipper.answered(place)
        if answer.closed:
            self._refusal = self._undelivered = ""  # also of what the log had taken although the client had given it up
            if not self._shipper.holding:
                self._deferred = ""
            self._unanswered_since = None if self._shipper.settled else now
        if answer.refused:
            self._tell_rejected(answer.settled)
        if answer.told is not None:
            self._shipper.told(answer.space, answer.partition, *answer.told, now)
        if answer.deferred:
            self._deferred = answer.deferred
            self._shipper.deferred(answer.space, answer.partition, now)
        if answer.refused:
            self._rerun.take_back(answer.space, answer.partition, answer.refused)
        self._rerun.run()

    def _tell_rejected(self, command_ids: Iterable[str]) -> None:
        for command_id in command_ids:
            entry = entry_of(self._journal.durable, command_id)
            if entry is not None and entry.status is Status.REJECTED:
                log.warning("command rejected", command_id=command_id, code=entry.code, reason=entry.reason)
