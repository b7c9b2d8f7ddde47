"""The keys of an agent's store. Numbers are big-endian, so that key order is number order."""

from __future__ import annotations

import struct

_LSN = struct.Struct(">Q")
_OUTBOX = struct.Struct(">BIQ")
LSN_BYTES = _LSN.size

CLASSES = ("critical", "high", "normal", "low")
CLOCK = b"clock"
OBSERVED = b"observed"
FRESHNESS = b"freshness"
OFFLINE = b"offline"
_SEPARATOR = b"\x00"


def lsn_key(lsn: int) -> bytes:
    return _LSN.pack(lsn)


def parse_lsn(key: bytes) -> int:
    """The lsn that a key ends with."""
    return int(_LSN.unpack(key[-LSN_BYTES:])[0])


def pending_prefix(document: bytes) -> bytes:
    return document + _SEPARATOR


def pending_key(document: bytes, lsn: int) -> bytes:
    return document + _SEPARATOR + _LSN.pack(lsn)


def outbox_key(space: int, priority: int, partition: int, lsn: int) -> bytes:
    """`space` is the space's index among the app's spaces in name order."""
    return bytes((space,)) + _OUTBOX.pack(priority, partition, lsn)


def parse_outbox(key: bytes) -> tuple[int, int, int, int]:
    """(space, priority, partition, lsn)."""
    return (key[0], *_OUTBOX.unpack(key[1:]))


def urgency_of(key: bytes) -> int:
    """The class of an outbox entry, as its index in `CLASSES`."""
    return key[1]


def sealed_prefix(space: str) -> bytes:
    return b"sealed/" + space.encode() + b"/"


def sealed_key(space: str, partition: int, number: int) -> bytes:
    return sealed_prefix(space) + _OUTBOX.pack(0, partition, number)


def parse_sealed(key: bytes) -> tuple[int, int]:
    """(partition, number)."""
    _, partition, number = _OUTBOX.unpack(key[-_OUTBOX.size :])
    return partition, number


def batch_counter(space: str, partition: int) -> bytes:
    return f"batch/{space}/{partition}".encode()


def cursor_key(topic: str, partition: int) -> bytes:
    return f"cursor/{topic}/{partition}".encode()


def digest_key(space: str, scope: str) -> bytes:
    return f"digest/{space}/{scope}".encode()


def pack_number(number: int) -> bytes:
    return _LSN.pack(number)


def unpack_number(data: bytes | None, default: int = 0) -> int:
    return default if data is None else int(_LSN.unpack(data)[0])
