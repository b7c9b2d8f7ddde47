"""Rows of this replica's chains, and refusals of what claimed to be its device's; others are passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from driftlog_edge.incoming.pulled import UNREADABLE, PassedOver, Pulled
from driftlog_edge.incoming.verdicts import Verdicts
from driftlog_edge.ports import Place, Record
from driftlog_edge.store.cursors import cursor_of, moved
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import left_in
from driftlog_edge.store.stamps import Stamps
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import OVER_REPLICA
from driftlog_schemas.messages import ChainRow, RefusalNotice
from driftlog_schemas.record_codecs import RecordCodecs

_OVER = OVER_REPLICA.encode()


class Receipts:
    """Reads receipts for one replica."""

    def __init__(
        self, records: RecordCodecs, verdicts: Verdicts, journal: Journal, stamps: Stamps, device_id: str
    ) -> None:
        self._records = records
        self._verdicts = verdicts
        self._journal = journal
        self._stamps = stamps
        self._device = device_id.encode()
        self._passed_over = PassedOver()

    def read(self, topic: str, partition: int, records: Sequence[Record]) -> Iterator[Pulled]:
        """What these records mean, in steps: stage each before the next is asked for. The cursor moves with the last."""
        refused: list[tuple[str, int, RefusalNotice]] = []
        space = topic.rpartition(".")[0]
        left = {one.replica.encode() for one in left_in(self._journal, space, partition)}  # perhaps as another device
        unreadable = 0
        for record in _latest(records, self._device):
            ours = record.key.partition(b".")[0] == self._device or record.key in left
            if record.value is None or not (ours or (left and record.key == _OVER)):
                continue
            try:
                if record.key == self._device:
                    refused.append((space, partition, self._records.decode_refusal_notice(record.value)))
                    continue
                row = self._row(record, space, partition)
            except UNREADABLE as error:
                self._passed_over(topic, record, error)
                unreadable += 1
                continue
            timed = self._verdicts.writes_there(row)
            answers = self._verdicts.over(row) if record.key == _OVER else self._verdicts.of(row, record.value)
            for step, answer in enumerate(answers):
                if timed and not step:
                    answer.writes.update(self._timed(row))
                yield Pulled(answer.writes, answered=(answer,))
        writes: dict[Place, bytes | None] = {}
        if records:
            before = cursor_of(self._journal, topic, partition)
            writes.update(moved(topic, partition, before._replace(offset=records[-1].offset + 1)))
        yield Pulled(writes, refused=tuple(refused), unreadable=unreadable)

    def _row(self, record: Record, space: str, partition: int) -> ChainRow:
        """The row that a record is. Raises one of `UNREADABLE`, also where it lies in another place than it speaks of."""
        assert record.value is not None
        row = self._records.decode_chain_row(record.value)
        if (row.replica.encode(), row.space, row.partition) != (record.key, space, partition):
            raise Undecodable(f"a row of {row.replica} in {row.space}/{row.partition}, which is not where it lies")
        return row

    def _timed(self, row: ChainRow) -> dict[Place, bytes | None]:
        """What a row of ours tells of the device's clock, and the writes that keep it."""
        self._stamps.read(row.append_ms)
        return self._stamps.contradicted(row.append_ms + row.skew_ms, row.append_ms) if row.skew_ms else {}


def _latest(records: Sequence[Record], device: bytes) -> list[Record]:
    """The last record of each key: a row says all that the rows before it said."""
    rows = {record.key: record for record in records}
    return [record for record in records if record.key == device or rows[record.key] is record]
