"""The entries of RocksDB's write-ahead logs, read from their bytes.

RocksDB reads its logs only where its manifest says which families they speak of. Where that is gone, so are the families' names: a log has their
numbers. But every value here is sealed with its family and key authenticated (`store/cipher`), so what opens as a value of a family is one, and a
number is that family's. So nothing is taken for an entry that was not written as one, and no checksum is needed.

Format: blocks of 32 KiB, records of checksum, length and kind in them (whole, first, middle, last), each whole one a write batch: sequence number (8),
count (4), then per entry a tag and length-prefixed bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from driftlog_edge.ports import Family

_BLOCK = 32 << 10
_HEAD = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(1, 5)
_BATCH_HEAD = 12
_DELETE, _PUT, _DELETE_IN, _PUT_IN = 0x0, 0x1, 0x4, 0x5


class LogEntry(NamedTuple):
    """One put, or with no value one removal. `family` is RocksDB's number."""

    family: int
    key: bytes
    sealed: bytes | None


def entries(data: bytes) -> Iterator[LogEntry]:
    """Those of one log, in order; what cannot be read is passed over, a block at a time."""
    for batch in _batches(data):
        yield from _of_batch(batch)


def _batches(data: bytes) -> Iterator[bytes]:
    at, parts = 0, bytearray()
    while at + _HEAD.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEAD.size:
            at += left
            continue
        _, length, kind = _HEAD.unpack_from(data, at)
        if not _WHOLE <= kind <= _LAST or _HEAD.size + length > left:
            at, parts = at + left, bytearray()
            continue
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        at += _HEAD.size + length
        if kind in (_WHOLE, _FIRST):
            parts = bytearray()
        parts += body
        if kind in (_WHOLE, _LAST):
            yield bytes(parts)


def _of_batch(batch: bytes) -> Iterator[LogEntry]:
    at = _BATCH_HEAD
    try:
        while at < len(batch):
            tag, family = batch[at], 0
            at += 1
            if tag in (_DELETE_IN, _PUT_IN):
                family, at = _number(batch, at)
            elif tag not in (_DELETE, _PUT):
                return  # nothing that is written here
            key, at = _bytes(batch, at)
            sealed = None
            if tag in (_PUT, _PUT_IN):
                sealed, at = _bytes(batch, at)
            yield LogEntry(family, key, sealed)
    except IndexError:
        return


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
        if shift > 28:
            raise IndexError


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(data, at)
    if at + length > len(data):
        raise IndexError
    return data[at : at + length], at + length


def newest(
    logs: Iterator[LogEntry], opens: Callable[[Family, bytes, bytes], bool]
) -> dict[tuple[Family, bytes], bytes | None]:
    """What the logs say last of each key, None where it was removed. `opens`: is this a value of that family and key?"""
    numbers: dict[int, Family] = {}
    found: dict[tuple[Family, bytes], bytes | None] = {}
    for number, key, sealed in logs:
        family = numbers.get(number)
        if sealed is not None and (family is None or not opens(family, key, sealed)):
            family = next((one for one in Family if opens(one, key, sealed)), None)
        if family is None:
            continue
        numbers[number] = family
        found[family, key] = sealed
    return found
