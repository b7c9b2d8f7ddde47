"""Of the bytes of a fetch every offset comes, as aiokafka itself goes through them: control records and unreadable ones are blank."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from driftlog_streams.faust_driver.fetched import WholeRecords

ATTRIBUTES, CRC, COVERED = 21, 17, 21
APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
NOT_TEXT = "~}"
"""Two bytes, for which two that are no text are put in."""


def batch(
    first: int, *records: tuple[bytes | None, list[tuple[str, bytes | None]]], attributes: int = 0, codec: int = 0
) -> bytes:
    """A batch of the log as a broker keeps it; `codec` is Kafka's number of a compression."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, 7, 0, 0, 1 << 23)
    for n, (value, headers) in enumerate(records):
        builder.append(n, 1000, b"key", value, headers)
    data = bytearray(builder.build().replace(NOT_TEXT.encode(), b"\xff\xfe"))
    struct.pack_into(">q", data, 0, first)
    struct.pack_into(">h", data, ATTRIBUTES, attributes | codec | APPEND_TIME)
    struct.pack_into(">I", data, CRC, calc_crc32c(data[COVERED:]))
    return bytes(data)


def plain(first: int, *values: bytes | None, attributes: int = 0) -> bytes:
    return batch(first, *((value, []) for value in values), attributes=attributes)


def fetched(data: bytes, start: int = 0) -> Any:
    """What the fetcher goes through."""
    records = WholeRecords(data)
    assert records.has_next() and records.size_in_bytes() == len(data)
    return fetcher.PartitionRecords(TopicPartition("ops", 0), records, None, start, None, None, True, 0)


def test_the_end_of_a_transaction_is_a_blank() -> None:
    data = (
        plain(0, b"a", b"b")
        + plain(2, b"t", attributes=TRANSACTIONAL)
        + plain(3, b"\x00\x00\x00\x00", attributes=TRANSACTIONAL | CONTROL)
        + plain(4, b"c")
    )
    found = fetched(data)
    assert [(r.offset, r.key, r.value) for r in found] == [
        (0, b"key", b"a"),
        (1, b"key", b"b"),
        (2, b"key", b"t"),
        (3, None, None),
        (4, b"key", b"c"),
    ]
    assert found.next_fetch_offset == 5


def test_from_a_header_that_is_no_text_on_a_batch_is_blank() -> None:
    data = batch(5, (b"a", [("fine", None)]), (b"b", [(NOT_TEXT, b"x")]), (b"c", [])) + plain(8, b"d")
    found = fetched(data, 5)
    assert [(r.offset, r.value) for r in found] == [(5, b"a"), (6, None), (7, None), (8, b"d")]
    assert found.next_fetch_offset == 9
    assert [(r.offset, r.value) for r in fetched(data, 7)] == [(7, None), (8, b"d")], "from within"


def test_what_was_spoiled_on_its_way_is_no_blank() -> None:
    spoiled = bytearray(plain(0, b"a"))
    spoiled[-2] ^= 1
    with pytest.raises(CorruptRecordException):
        list(fetched(bytes(spoiled)))
