"""How far this replica has come in a partition, and in which life of its topic.

An offset means nothing without the topic that counted it: a topic that was deleted and made again counts anew. So a cursor holds the id that the
broker gave the topic, and who finds another id there has read something else. It stands beside what was read, in the same write.

`group` is the number of the last group of states that was applied whole: the offset of the op topic up to which this replica has the read model.
Every command says it of the moment at which it was written, so that the cloud can tell what its writer had seen. It goes down a little when a worker
that had frozen writes late; that is careful, and the next group mends it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys

NOTHING_READ = -1
"""The group of who has applied none."""
_NUMBERS = struct.Struct(">QqQ")


class Cursor(NamedTuple):
    """A place in one life of a topic."""

    offset: int = 0
    """The next to be read."""
    topic_id: str = ""
    """Empty before the broker was asked for it."""
    group: int = NOTHING_READ
    wall_ms: int = 0
    """When it was moved, by the device's clock."""

    def encode(self) -> bytes:
        return _NUMBERS.pack(self.offset, self.group, self.wall_ms) + self.topic_id.encode()

    @classmethod
    def decode(cls, data: bytes) -> Cursor:
        offset, group, wall_ms = _NUMBERS.unpack_from(data)
        return cls(offset, data[_NUMBERS.size :].decode(), group, wall_ms)


def cursor_of(source: Source, topic: str, partition: int) -> Cursor:
    """Where it stands; at the beginning where nothing was read."""
    raw = source.get(Family.META, keys.cursor_key(topic, partition))
    return Cursor() if raw is None else Cursor.decode(raw)


def moved(topic: str, partition: int, cursor: Cursor) -> dict[Place, bytes | None]:
    """The write that moves it."""
    return {(Family.META, keys.cursor_key(topic, partition)): cursor.encode()}
