"""The net around the merge: what becomes of a record that fails in a way that nobody foresaw.

When a merge fails, or the making of records from its outcome, what was merged since the last flight is taken back and merged again
carefully: each command on copies, up to the bytes that would be published. What fails then is known, changes nothing, counts as not
seen, and goes to the quarantine; the rest flows. A batch that fails outside of its commands, or whose chain row cannot be written, is quarantined whole.

Only what deciding the record raised is its fault. What the store, the disk, the order or the memory raise passes: the worker ends,
and its next life reads the record again.

What strangers write into the topics of the workers is looked at with less ado: where that fails it is passed over (`passing_over`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog

from driftlog_schemas import bounds
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_streams.core.admission import UNFORESEEN, Admitted, Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.decision import Decider, Decision
from driftlog_streams.core.parking import Blocker
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.trial import Trial
from driftlog_streams.core.waiting import Waiting
from driftlog_streams.core.work import Merged
from driftlog_streams.errors import WorkerError

log = structlog.get_logger()

ONE_COMMAND = "unforeseen_command"
"""Code of a command that was quarantined by itself: its batch was taken, and its device sends it again in another."""
FATAL = (WorkerError, OSError, MemoryError)
"""Not the record's fault."""
Take: TypeAlias = Callable[[Merged], None]
"""Merges one record."""


def passing_over(look: Callable[..., object], *record: object) -> bool:
    """Look at what somebody has written into a topic of the workers, for anybody's tool may. Is it answered?"""
    try:
        return bool(look(*record))
    except FATAL:
        raise
    except Exception as error:  # noqa: BLE001  # the net
        log.warning("a record is passed over", error=f"{type(error).__name__} {error}"[:500])
        return False


class Net:
    """Of one partition."""

    def __init__(self, partition: Partition, decider: Decider, waiting: Waiting) -> None:
        self._partition = partition
        self._decider = decider
        self._waiting = waiting

    # -- a command

    def decide(self, arrival: Arrival, known: CommandOutcome | None) -> Decision | Blocker:
        """Decide; carefully, a command that fails in a way that nobody foresaw is quarantined."""
        first = self._partition.decided_before(arrival) if arrival.command.root else None
        if not self._decider.careful:
            return self._decider.decide(arrival, known, first)
        try:
            decision = self._decider.decide(arrival, known, first)
            if isinstance(decision, Decision) and decision.trial is not None:
                self._recorded(decision, decision.trial)
            return decision
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the net
            return Decision(self._quarantine(arrival, error))

    def _recorded(self, decision: Decision, trial: Trial) -> None:
        """Can records be made of all that it has brought?"""
        entries = {entry.key: entry for entry, _, _ in decision.steps}
        for conflict in trial.done.ended:
            self._partition.records.conflict(conflict)
        for key, place in trial.done.contested:
            self._partition.conflict(entries[key], trial.states[key], place)

    def _quarantine(self, arrival: Arrival, error: Exception) -> CommandOutcome:
        reason = bounds.cut(f"{type(error).__name__} {error}", bounds.MAX_REASON)
        log.error("command quarantined", command=arrival.command.id, offset=arrival.offset, error=reason)
        self._partition.work.quarantined += 1
        self._partition.work.outcomes.append(
            self._partition.records.quarantined(
                arrival.value,
                ONE_COMMAND,
                reason,
                arrival.offset,
                arrival.append_ms,
                arrival.batch.replica,
                arrival.device.device_id,
            )
        )
        return CommandOutcome(arrival.command.id, Verdict.DEFERRED, "quarantined", reason)

    # -- what was merged since the last flight

    def carefully(self, error: Exception, take: Take) -> None:
        """Take back what was merged since the last flight, and merge it again one command at a time."""
        log.error(
            "merging again, carefully", partition=self._partition.number, error=f"{type(error).__name__} {error}"[:500]
        )
        records = self._partition.work.merged
        refused: set[int] = set()
        self._decider.careful = True
        try:
            while (failed := self._merged_again(records, refused, take)) is not None:
                assert failed not in refused, "a record is refused once"
                refused.add(failed)
        finally:
            self._decider.careful = False

    def resume(self, release: Callable[[], None]) -> None:
        """Look at what was restored. What fails then changes nothing, and stays in its topic for a life that knows better."""
        try:
            while True:
                waiting = len(self._waiting.parking)
                try:
                    return release()
                except FATAL:
                    raise
                except Exception as error:
                    log.error("resuming again, carefully", error=f"{type(error).__name__} {error}"[:500])
                    self._take_back()
                    if self._decider.careful and len(self._waiting.parking) >= waiting:
                        raise
                    self._decider.careful = True
        finally:
            self._decider.careful = False

    def _merged_again(self, records: Sequence[Merged], refused: set[int], take: Take) -> int | None:
        """The offset of the record that fails although each command is merged by itself; None if all went well."""
        self._take_back()
        for record in records:
            self._partition.work.merged.append(record)
            try:
                if record.offset in refused:
                    self._set_aside(record)
                else:
                    take(record)
                    self._row_recorded(record)
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001  # the net
                log.error("record quarantined", offset=record.offset, error=f"{type(error).__name__} {error}"[:500])
                return record.offset
        return None

    def _row_recorded(self, record: Merged) -> None:
        """Can its replica's row be sent as it is now?"""
        if isinstance(record.admission, Admitted):
            row = self._partition.work.rows.get(record.admission.batch.replica)
            if row is not None:
                self._partition.rules.records.encode_chain_row(row)

    def _set_aside(self, record: Merged) -> None:
        """Quarantine a record whole: as if its bytes had never come, but for the word to its device."""
        admission, offset, append_ms, _ = record
        self._partition.reach(offset)
        self._partition.work.quarantined += 1
        device_id = replica = ""
        if isinstance(admission, Admitted):
            device_id, replica = admission.device.device_id, admission.batch.replica
        reason = "the batch could not be decided"
        self._partition.work.outcomes.append(
            self._partition.records.quarantined(
                admission.value, UNFORESEEN, reason, offset, append_ms, replica, device_id
            )
        )
        if device_id:
            refusal = Refusal("quarantined", reason, device_id, known=True)
            self._partition.work.outcomes.append(self._partition.records.refusal(refusal, offset, append_ms))

    def _take_back(self) -> None:
        """Everything is as the last flight left it."""
        partition, parking = self._partition, self._waiting.parking
        work = partition.take_back()
        self._waiting.moved.clear()
        for arrival in work.parked:
            if arrival.key in parking:
                parking.remove(arrival)
        came = {arrival.key for arrival in work.parked}
        for arrival in work.released:
            if arrival.key not in came:
                known, first = partition.known(arrival), partition.decided_before(arrival)
                parking.add(arrival, self._decider.blocker(arrival, known, first))
        for arrival in work.dropped:
            if arrival.key in parking:
                parking.replace(arrival)
        for key in work.again:
            if partition.can_leave(key):
                partition.publish_again(key)
        for replica in work.rows_again:
            partition.publish_row_again(replica)
