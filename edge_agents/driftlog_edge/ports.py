"""What the core needs from the world, as small protocols. RocksDB, Kafka and the clock stand behind them; so does a simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias


class Family(Enum):
    """The column families of an agent's store; see `docs/architecture.md` for their keys."""

    OPLOG = "oplog"
    CONFIRMED = "confirmed"
    PENDING = "pending"
    OUTBOX = "outbox"
    COMMANDS = "commands"
    CONFLICTS = "conflicts"
    META = "meta"


Place: TypeAlias = tuple[Family, bytes]
Writes: TypeAlias = Mapping[Place, bytes | None]
"""What one atomic write puts, or deletes where the value is None."""


class Store(Protocol):
    """Ordered, durable, atomic."""

    def get(self, family: Family, key: bytes) -> bytes | None: ...

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries whose key begins with `prefix` and is greater than `after`, in key order."""
        ...

    def write(self, writes: Writes, *, sync: bool) -> None:
        """All of it or nothing; with `sync`, durable when it returns. Raises `DiskFull`, `StoreFailed`."""
        ...

    def close(self) -> None: ...


class Clock(Protocol):
    """The device's own clock, right or wrong."""

    def wall_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class Record(NamedTuple):
    """One record as it was read from a topic."""

    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


class Sealed(NamedTuple):
    """A batch ready for the wire."""

    topic: str
    partition: int
    number: int
    key: bytes
    value: bytes
