"""What a compressed batch of the log may unpack to: as much as no producer of ours, nor any of a client's usual settings, puts into one.

A broker bounds batches as they are sent. But six kilobytes can be two hundred megabytes of zeros, and a megabyte more than any machine has: so whoever may
write to the op topic could end every worker that reads a partition, one after the other. aiokafka unpacks a batch whole, into whatever room that takes.
Here it is refused like one that cannot be read (`fetched`), and so is what is no compressed data at all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record._crecords import default_records

MOST_BYTES = 64 << 20
"""Of one batch; an agent's has at most one of a megabyte."""
_FIRST_TRIED, _TIMES = 1 << 16, 8
"""So much room there is at first, at least, or so often what is packed; and so often as much is tried next."""
_NO_ROOM = "failed to write whole buffer"
_GZIP = zlib.MAX_WBITS | 16


def bound() -> None:
    """From now on aiokafka unpacks no more than that in this process."""
    default_records.zstd_decode = _within(cramjam.zstd.decompress_into)
    default_records.lz4_decode = _within(cramjam.lz4.decompress_into)
    default_records.gzip_decode = _gunzip


def _within(unpack_into: Callable[[Any, bytearray], int]) -> Callable[[Any], bytes]:
    def unpacked(payload: Any) -> bytes:
        room = max(_FIRST_TRIED, _TIMES * len(payload))
        while True:
            out = bytearray(min(room, MOST_BYTES))
            try:
                return bytes(memoryview(out)[: unpack_into(payload, out)])
            except cramjam.DecompressionError as error:
                if room >= MOST_BYTES or _NO_ROOM not in str(error):
                    raise CorruptRecordException(f"{len(payload)} bytes are not unpacked: {error}") from error
            room *= _TIMES

    return unpacked


def _gunzip(payload: Any) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        out = unpacker.decompress(payload, MOST_BYTES)
    except zlib.error as error:
        raise CorruptRecordException(f"{len(payload)} bytes are not unpacked: {error}") from error
    if not unpacker.eof:
        raise CorruptRecordException(f"{len(payload)} bytes are not unpacked: more than {MOST_BYTES}, or cut off")
    return out
