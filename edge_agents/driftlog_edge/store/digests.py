"""What this replica knows of the digest of a scope: its own, and what the cloud told of it last.

They stand in one entry beside the rows, one for each generation of a partition's rows and each scope, changed in the same write as the rows. So
they speak of the same moment of the partition's log, whatever cuts the agent off. See `driftlog_schemas.digests` for what a digest is.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys
from driftlog_schemas.digests import UNTOLD, Versions

_ENTRY = struct.Struct(">QqQ?")
_MOVED = struct.Struct(">QQ")


class ScopeDigest(NamedTuple):
    """Of one scope in one generation."""

    own: int = 0
    """Of the rows that are here."""
    number: int = -1
    """The highest group that brought a record of the scope."""
    told: int | None = None
    """What the newest record of the scope says that the scope is; None where that says nothing."""

    evicted: int = 0
    """How many of them are evicted; they count in `own` with the version that was evicted."""
    moves: int = 0
    """How often rows went or came back: who counts them sees by it that some have moved meanwhile."""

    @property
    def differs(self) -> bool:
        """Does the cloud tell of another scope than is here?"""
        return self.told is not None and self.told != self.own

    def encode(self) -> bytes:
        entry = _ENTRY.pack(self.own, self.number, self.told or 0, self.told is not None)
        return entry + _MOVED.pack(self.evicted, self.moves) if self.moves else entry

    @classmethod
    def decode(cls, data: bytes | None) -> ScopeDigest:
        if data is None or len(data) not in (_ENTRY.size, _ENTRY.size + _MOVED.size):
            return cls()  # counting the rows makes it right (`recount`)
        own, number, told, known = _ENTRY.unpack_from(data)
        evicted, moves = _MOVED.unpack_from(data, _ENTRY.size) if len(data) > _ENTRY.size else (0, 0)
        return cls(own, number, told if known else None, evicted, moves)

    def moved(self, gone: int) -> ScopeDigest:
        """So many rows more are evicted, or fewer."""
        return self._replace(evicted=max(0, self.evicted + gone), moves=self.moves + 1)


def digest_of(source: Source, space: str, partition: int, generation: int, scope: str) -> ScopeDigest:
    """What is known of a scope."""
    return ScopeDigest.decode(source.get(Family.META, keys.digest_key(space, partition, generation, scope)))


def written(space: str, partition: int, generation: int, scope: str, digest: ScopeDigest) -> dict[Place, bytes | None]:
    """The write that keeps it."""
    return {(Family.META, keys.digest_key(space, partition, generation, scope)): digest.encode()}


def row_digest(versions: Versions, key: bytes, value: bytes | None) -> int:
    """What a row adds to its scope; nothing where its version cannot be told. Raises `RegistryUnreachable`."""
    try:
        return versions.digest(key, value)
    except UNTOLD:
        return 0
