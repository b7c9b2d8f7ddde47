"""The records of one state partition, gathered until they make a consistent cut.

A worker publishes what it merged as groups. A crash may tear one: some of its records are out, its end is not, and the groups
that follow have smaller or equal numbers and bring the rest. So the buffer is ripe when a record marked `last` comes whose number is at
least the highest number in the buffer; a mark that compaction took away is covered by a later group's. Below the end
that was seen when catching up began, there is nothing consistent to protect and the buffer may be applied at its bound.
"""

from __future__ import annotations

from driftlog_edge.ports import Record
from driftlog_schemas import groups

CATCH_UP_BOUND = 10_000
LIVE_BOUND = 100_000
"""No worker makes a group of this size; a buffer that reaches it is applied and said so."""


class GroupAssembler:
    """The buffer of one partition."""

    def __init__(self, bound: int = CATCH_UP_BOUND) -> None:
        self._bound = bound
        self._buffer: list[Record] = []
        self._highest = -1

    def __len__(self) -> int:
        return len(self._buffer)

    def add(self, record: Record, catching_up: bool = False) -> list[Record]:
        """The records to apply now, in one write, if this one makes them ripe; else nothing."""
        mark = groups.parse(record.headers)
        self._buffer.append(record)
        self._highest = max(self._highest, mark.number)
        ripe = mark.last and mark.number >= self._highest  # a foreign record, -1, ends nothing but itself
        full = len(self._buffer) >= (self._bound if catching_up else LIVE_BOUND)
        if not (ripe or full):
            return []
        ready, self._buffer = self._buffer, []
        self._highest = -1
        return ready
