"""The end of a partition's op log: the record that says so is the last one of which anything is merged.

A space that gets another number of partitions goes on in other topics (`driftlog_schemas.moves`), and of its old log nothing may be merged that was not
laid anew there. When a worker hears of that is no matter of the log, and a late one would go on. So the end stands in the log itself, an empty batch of
a device that an operator has made for it: every worker stops at the same record, however late it runs, and so does every replay. That cannot be taken back.

The row of that device keeps where the end is, for whoever takes the partition over behind it: until it has arrived the record is not confirmed, and is read
again. A row that a crash has let out ahead ends nothing before its time, for it names the record. A stranger could write such a row, and nothing would be
merged any more; so whoever takes it up looks whether that record is there, and of the device (`is_end`).

What waits there for a change that has not come would wait for ever. It is given back: nothing of it is seen, and its device, which is told so, takes it along.
"""

from __future__ import annotations

import structlog

from driftlog_schemas.identity import CLOSING_REPLICA
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_streams.core import chain
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.chain import Link
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.decision import Decision
from driftlog_streams.core.parking import Parking
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.waiting import Released

log = structlog.get_logger()

CLOSED = "closed"
"""Code of a command that waited when the log ended."""


def is_end(record: ChangelogRecord, partition: int, rules: SpaceRules, devices: Devices) -> bool:
    """Does this op record close the log of its partition?"""
    admission = admit(record.value, record.append_ms, partition, rules, devices)
    return isinstance(admission, Admitted) and admission.batch.replica == CLOSING_REPLICA


class Closing:
    """Of one partition. `released` is told of what is given back."""

    def __init__(self, partition: Partition, parking: Parking, released: Released) -> None:
        self._at, self._parking, self._released = partition, parking, released

    @property
    def ended_at(self) -> int | None:
        """The offset of the record that has ended the log, as far as its row is known; None while it goes on."""
        row = self._at.book.held(CLOSING_REPLICA)
        return None if row is None else row.offset

    def over_at(self, offset: int) -> bool:
        """Does this record lie behind the end?"""
        end = self.ended_at
        return end is not None and end < offset

    def close(self, link: Link) -> None:
        """The log ends with this record. Read again after a crash, it gives back what that has not let through."""
        for arrival in self._parking.waiting():
            self._parking.remove(arrival)
            self._released(arrival, Decision(_given_back(arrival)))
        if self.ended_at is None:
            log.info("the op log is closed", partition=self._at.number, offset=link.offset)
        row = chain.entered(None, link, (), 0, link.offset)
        self._at.write_row(link.batch.replica, row, urgent=False)


def _given_back(arrival: Arrival) -> CommandOutcome:
    reason = "the log was closed before what it waits for had come: it goes on in other topics"
    return CommandOutcome(arrival.command.id, Verdict.DEFERRED, CLOSED, reason)
