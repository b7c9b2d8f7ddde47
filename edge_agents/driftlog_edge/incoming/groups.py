"""The records of one state partition, gathered until they make a consistent cut.

A worker publishes what it merged as groups, and a crash may tear one (see `groups.Cut`): the buffer is ripe when its records make a
consistent cut; a mark that compaction took away is covered by a later group's. Below the end that was seen when catching up began,
there is nothing consistent to protect and the buffer may be applied at its bound.
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

    def add(self, record: Record, catching_up: bool = False) -> list[Record]:
        """The records to apply now, in one write, if this one makes them ripe; else nothing."""
        self._buffer.append(record)
        ripe = self._cut.take(groups.parse(record.headers))
        full = len(self._buffer) >= (self._bound if catching_up else LIVE_BOUND)
        if not (ripe or full):
            return []
        ready, self._buffer, self._cut = self._buffer, [], groups.Cut()
        return ready
