"""Records of the state partitions, gathered until they make a consistent cut (see `groups.Cut`): only such is handed on.

A torn group waits for its other half. What claims a group that the op log does not have is no worker's, so nothing waits for it. A partition whose open
group outgrows the bound is handed on as it is, and that is said: no worker makes one of this size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from driftlog_schemas import groups
from driftlog_streams.projections.records import StateReader, StateRecord
from driftlog_streams.projections.sink import Group, Row

log = structlog.get_logger()

MAX_OPEN = 50_000
"""Records of one group."""
NO_WORKER = "no worker wrote it: it names no group of the op log"


class Gathering:
    """The partitions of one writer, from where they stand in the sink."""

    def __init__(self, reader: StateReader, topic_id: str, starts: Mapping[int, int], max_open: int = MAX_OPEN) -> None:
        self._reader = reader
        self._topic_id = topic_id
        self._partitions = {number: _Partition(start) for number, start in starts.items()}
        self._max_open = max_open

    def take(self, records: Iterable[StateRecord], ops_ends: Mapping[int, int]) -> None:
        """The next records, each partition's in order. `ops_ends`: where the op logs end, at the earliest when these had been read.

        Raises `RegistryUnreachable`; what was taken is then not to be used any more.
        """
        for record in records:
            partition = self._partitions[record.partition]
            if not 0 <= record.mark.number < ops_ends[record.partition]:
                self._reader.pass_over(record, NO_WORKER)
                partition.passed(record.offset)
                continue
            partition.add(record, self._reader.row(record))
            if len(partition.open) >= self._max_open:
                log.warning("a group does not end and is taken as it is", partition=record.partition, at=record.offset)
                partition.close()

    def ripe(self) -> list[Group]:
        """What can be handed on, one group a partition; `done` when it was."""
        return [
            Group(number, self._topic_id, one.start, one.whole_to, tuple(one.whole.values()))
            for number, one in self._partitions.items()
            if one.whole_to > one.start
        ]

    def done(self, groups: Iterable[Group]) -> None:
        """These were applied."""
        for group in groups:
            one = self._partitions[group.partition]
            one.start, one.whole = group.end, {}

    def standing(self) -> list[Group]:
        """Each partition as it stands, to be confirmed."""
        return [Group(number, self._topic_id, one.start, one.start, ()) for number, one in self._partitions.items()]

    @property
    def rows(self) -> int:
        """How many are ripe."""
        return sum(len(one.whole) for one in self._partitions.values())


class _Partition:
    """What of it was read and is not applied."""

    def __init__(self, start: int) -> None:
        self.start = start
        self._cut = groups.Cut()
        self.open: list[Row | None] = []
        self._read_to = start
        self.whole: dict[tuple[str, str, str], Row] = {}
        """The newest of each document."""
        self.whole_to = start

    def add(self, record: StateRecord, row: Row | None) -> None:
        self.open.append(row)
        self._read_to = record.offset + 1
        if self._cut.take(record.mark):
            self.close()

    def passed(self, offset: int) -> None:
        """Nothing of it is taken; where nothing is open, the partition stands behind it."""
        self._read_to = offset + 1
        if not self._cut.open:
            self.whole_to = self._read_to

    def close(self) -> None:
        for row in self.open:
            if row is not None:
                self.whole[row.document] = row
        self.open, self._cut, self.whole_to = [], groups.Cut(), self._read_to
