"""The read model as it runs: what the state topic says at its last whole group, and what the rows say became of each command.

A torn end (of a flight that is on its way, or of a worker that died) is left out, as every reader leaves it out. The number of the last whole
group says up to which op record all of it is merged, so that a rebuild knows where to stop to say the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from driftlog_schemas import groups
from driftlog_schemas.messages import ChainRow, CommandOutcome, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import chain
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.faust_driver.partition_store import PartitionStore

MAX_BUFFERED = 50_000
"""Records of one group; what is longer is no group of ours, and is taken as it comes."""


class Running:
    """One partition of the read model, read into a store."""

    def __init__(self, store: PartitionStore, ops_end: int) -> None:
        self._store, self._ops_end = store, ops_end
        self._cut = groups.Cut()
        self._open: list[tuple[bytes, bytes | None]] = []
        self.group = -1
        """Offset of the last op record that is merged in it."""
        self.records = 0
        self._highest = -1

    def take(self, records: Iterable[ChangelogRecord]) -> None:
        """The next records of the state topic."""
        whole: list[tuple[bytes, bytes | None]] = []
        for record in records:
            mark = groups.parse(record.headers)
            if mark.number >= self._ops_end:
                continue  # of no op record, so of no worker: passed over, as edges pass it over
            self.records += 1
            self._open.append((record.key, record.value))
            self._highest = max(self._highest, mark.number)
            if self._cut.take(mark) or len(self._open) > MAX_BUFFERED:
                whole += self._open
                self._open, self.group = [], self._highest
        self._store.write(whole, self._store.mark)


def recorded(row: ChainRow | None, number: int, command_id: str) -> CommandOutcome | None:
    """What a row says became of a command of this batch; None where it says nothing any more."""
    if row is None or not 0 < number <= row.last:
        return None
    entry = chain.entry_of(row, number)
    if entry is not None:
        return chain.verdict_of(entry, command_id)
    refused = row.refused.get(short_name(command_id))
    if refused is not None and refused.number == number:
        return CommandOutcome(command_id, Verdict.REJECTED, refused.code)
    return CommandOutcome(command_id, Verdict.ACCEPTED) if number >= row.refused_from else None
