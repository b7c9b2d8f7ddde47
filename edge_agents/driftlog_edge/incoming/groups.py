"""The records of one state partition, gathered until they make a consistent cut.

A worker publishes what it merged as groups, and a crash may tear one (see `groups.Cut`): the buffer is ripe when its records make a
consistent cut; a mark that compaction took away is covered by a later group's. Below the end that was seen when catching up began,
there is nothing consistent to protect and the buffer may be applied at its bound. What waits for a number that the op log does not have waits for
a stranger's word, and not for long (`bounded`).
"""

from __future__ import annotations

from driftlog_edge.ports import Record
from driftlog_schemas import groups

CATCH_UP_BOUND = 200
"""Below the end there is nothing to protect, and a large write holds up the loop and the disk."""
LIVE_BOUND = 100_000
"""No worker makes a group of this size; a buffer that reaches it is applied and said so."""


class GroupAssembler:
    """The buffer of one partition."""

    def __init__(self, bound: int = CATCH_UP_BOUND) -> None:
        self._bound = bound
        self._buffer: list[Record] = []
        self._cut = groups.Cut()

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def number(self) -> int:
        """What the end of a group must reach that would make it ripe; -1 where nothing waits."""
        return self._cut.highest

    def bounded(self, end: int) -> list[Record]:
        """The op log ends before `end`: what claims a number that it does not have is of no group. The records to apply now."""
        buffer, self._buffer, self._cut = self._buffer, [], groups.Cut()
        return [ripe for record in buffer for ripe in self.add(foreign(record) if beyond(record, end) else record)]

    def add(self, record: Record, catching_up: bool = False) -> list[Record]:
        """The records to apply now, in one write, if this one makes them ripe; else nothing."""
        self._buffer.append(record)
        ripe = self._cut.take(groups.parse(record.headers))
        full = len(self._buffer) >= (self._bound if catching_up else LIVE_BOUND)
        if not (ripe or full):
            return []
        ready, self._buffer, self._cut = self._buffer, [], groups.Cut()
        return ready


def beyond(record: Record, end: int) -> bool:
    """Does it claim a group that an op log which ends before `end` does not have?"""
    return groups.parse(record.headers).number >= end


def foreign(record: Record) -> Record:
    """The record, as one that no worker wrote."""
    return record._replace(headers=())
