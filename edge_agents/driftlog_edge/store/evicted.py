"""What stays of a confirmed row that was evicted, and what is known of one that may be.

A *marker* stands in the place of a row that made room. It says where the topic has the row, how it counts in the digest of its scope, and what it had
seen: so what comes in is judged as if the row were here, and what is fetched again is the same row or none. Only documents that are there are evicted;
a deletion that comes in is kept as a row, so nothing deleted is ever fetched.

A *trace* is kept of each row while the disk has a budget: where the topic has it, and when it was last used. Where it is missing, the row is looked
for in the whole partition when it is fetched again.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import NamedTuple

from driftlog_crdt import Vector
from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys

ANYWHERE = -1
"""The offset of a row of which nobody knows where the topic has it."""
_MARKER = struct.Struct(">qQ")
_TRACE = struct.Struct(">qQ")


class Marker(NamedTuple):
    """In place of a row."""

    offset: int
    digest: int
    """What the row adds to its scope (`digests`)."""
    vector: Vector

    def encode(self) -> bytes:
        return _MARKER.pack(self.offset, self.digest) + json.dumps(dict(self.vector), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Marker:
        offset, digest = _MARKER.unpack_from(data)
        return cls(offset, digest, json.loads(data[_MARKER.size :]))


class Trace(NamedTuple):
    """Beside a row."""

    offset: int = ANYWHERE
    used_ms: int = 0
    """When the cloud wrote it, or somebody here read or wrote it."""

    def encode(self) -> bytes:
        return _TRACE.pack(*self)

    @classmethod
    def decode(cls, data: bytes | None) -> Trace:
        return cls() if data is None else cls(*_TRACE.unpack(data))


def marker_of(source: Source, row: bytes, writes: Mapping[Place, bytes | None] | None = None) -> Marker | None:
    """The marker in a row's place; `writes` are made, but not staged yet."""
    place = (Family.META, keys.evicted_key(row))
    if writes is not None and place in writes:
        raw = writes[place]
    elif source.get(Family.META, keys.EVICTING) is None:
        return None
    else:
        raw = source.get(*place)
    return None if raw is None else Marker.decode(raw)


def trace_of(source: Source, row: bytes) -> Trace:
    """What is known of a row."""
    return Trace.decode(source.get(Family.META, keys.trace_key(row)))


def traced(row: bytes, trace: Trace | None) -> dict[Place, bytes | None]:
    """The write that keeps it."""
    return {(Family.META, keys.trace_key(row)): None if trace is None else trace.encode()}


def evicted(row: bytes, marker: Marker) -> dict[Place, bytes | None]:
    """The write by which a row makes room."""
    return {
        (Family.CONFIRMED, row): None,
        (Family.META, keys.evicted_key(row)): marker.encode(),
        (Family.META, keys.EVICTING): b"",
        **traced(row, None),
    }


def back(row: bytes, value: bytes, trace: Trace) -> dict[Place, bytes | None]:
    """The write by which it is here again."""
    return {
        (Family.CONFIRMED, row): value,
        (Family.META, keys.evicted_key(row)): None,
        **traced(row, trace),
    }
