"""What one fetch brings, offset by offset: nothing that stands in the log is left out, and nothing in it is raised.

The merge acknowledges every offset of the op log, and takes one that is missing for lost ops (`overrides`). But aiokafka passes over the
control records that any transactional producer leaves behind each of its transactions; and a header's name that is no text it raises, at every new
attempt. Both come as a *blank* here: a record without key and value, refused like every other that says nothing.

A batch of the log is of one producer. So where a record of it cannot be read the rest of the batch is blank, too; none of our own
producers writes such a record. Bytes that the disk or the network has spoiled are not meant: they fail their checksum before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

log = structlog.get_logger()


class Blank(NamedTuple):
    """An offset at which nothing is said."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None = None
    value: bytes | None = None
    checksum: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class WholeBatch:
    """A batch of which every offset comes; to the fetcher it is a usual one."""

    is_control_batch = False

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self.validate_crc = batch.validate_crc
        self.producer_id: int = batch.producer_id
        self.is_transactional: bool = batch.is_transactional
        self.base_offset: int = batch.base_offset
        self.next_offset: int = batch.next_offset

    def __iter__(self) -> Iterator[Any]:
        following = self.base_offset
        if not self._batch.is_control_batch:
            try:
                for record in self._batch:
                    following = record.offset + 1
                    yield record
                return
            except (UnicodeDecodeError, CorruptRecordException) as error:
                log.warning("records are not readable", offsets=f"{following}-{self.next_offset - 1}", error=str(error))
        for offset in range(following, self.next_offset):
            yield Blank(offset, self._batch.max_timestamp, self._batch.timestamp_type)


class WholeRecords:
    """Stands where aiokafka's fetcher makes its `MemoryRecords`: of the bytes that a broker has sent of one partition."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self.size_in_bytes = self._records.size_in_bytes
        self.has_next = self._records.has_next

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        return WholeBatch(batch) if isinstance(batch, DefaultRecordBatch) else batch
