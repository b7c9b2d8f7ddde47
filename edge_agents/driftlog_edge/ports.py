"""What the core needs from the world, as small protocols. RocksDB, Kafka and the clock stand behind them; so does a simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias


class Family(Enum):
    """The column families of an agent's store; see `docs/architecture.md` for their keys."""

    OPLOG = "oplog"
    CONFIRMED = "confirmed"
    UNREAD = "unread"
    PENDING = "pending"
    OUTBOX = "outbox"
    SEALED = "sealed"
    BODIES = "bodies"
    COMMANDS = "commands"
    CONFLICTS = "conflicts"
    META = "meta"

    __hash__ = object.__hash__  # Enum's own hashes the name in Python; families are in every key of every lookup


Place: TypeAlias = tuple[Family, bytes]
Writes: TypeAlias = Mapping[Place, bytes | None]
"""What one atomic write puts, or deletes where the value is None."""


class Source(Protocol):
    """What can be read: a store as it is on disk, or the journal, with what waits for the disk laid over it."""

    def get(self, family: Family, key: bytes) -> bytes | None: ...

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries whose key begins with `prefix` and is greater than `after`, in key order."""
        ...

    def scan_keys(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[bytes]:
        """Their keys alone: no value is decrypted for it."""
        ...


class Store(Source, Protocol):
    """Ordered, durable, atomic."""

    def reclaim(self, families: Iterable[Family]) -> None:
        """Give back the room of what was removed from them. Blocking."""
        ...

    def held_back(self, families: Iterable[Family]) -> int:
        """How many bytes of the disk their files and the write-ahead log take, whatever of that is still there to be read."""
        ...

    def superseded(self, family: Family) -> tuple[int, int]:
        """How many bytes of its files `reclaim` would give back, of how many; as far as it can be told without reading them."""
        ...

    def write(self, writes: Writes, *, sync: bool) -> None:
        """All of it or nothing; with `sync`, durable when it returns. Raises `DiskFull`, `StoreFailed`."""
        ...

    def close(self) -> None: ...


class Clock(Protocol):
    """The device's own clock, right or wrong."""

    def wall_ms(self) -> int: ...

    def monotonic(self) -> float:
        """Seconds, suspension counted; comparable within one `boot`."""
        ...

    def boot(self) -> str:
        """Which start of the machine this is; empty where nobody can tell."""
        ...


class Record(NamedTuple):
    """One record as it was read from a topic."""

    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    appended: bool = True
    """Is the time the broker's own (`LogAppendTime`), not the writer's?"""


class Sealed(NamedTuple):
    """A batch ready for the wire."""

    topic: str
    partition: int
    number: int
    key: bytes
    value: bytes
    lsns: tuple[int, ...] = ()
    """The commands in it."""
    digest: bytes = b""
    """What names it in its chain."""
    offset: int = -1
    """Where the log has it, once it is delivered and as far as the client knows."""
    append_ms: int = 0
    """When the log took it, by the broker's clock; 0 where nobody says."""
    urgency: int = 0
    """The most urgent class of what is in it (`outgoing/moments`); 0 where nobody knows it any more."""


class Chunk(NamedTuple):
    """What one look at a partition brought, in order."""

    topic: str
    partition: int
    records: list[Record]
    at_end: bool
    """The partition's end was reached at this moment."""
    lost: bool = False
    """The log does not have what follows the place from which this was to be read."""


class Unreachable(Exception):
    """The broker did not answer."""


class Shipping(Protocol):
    """The outgoing client."""

    def send(self, batch: Sealed) -> None:
        """Hand over one batch; the route's `delivered` tells what became of it, and where it lies. Raises `Unreachable` when it has no room."""
        ...

    def tell(self, topic: str, key: bytes, value: bytes, done: Callable[[], None]) -> None:
        """Hand over a record that nothing depends on; `done` when it is gone, one way or the other. Raises as `send`."""
        ...

    def close(self, seconds: float = 0.0) -> None:
        """Give what is on its way `seconds` to arrive, then drop it. Blocking."""
        ...


class Feed(Protocol):
    """The incoming client. It follows its partitions until it is closed."""

    def close(self) -> None:
        """Blocking."""
        ...


class Extent(NamedTuple):
    """What the broker has of a partition."""

    topic_id: str
    """Which life of the topic this is: one that is deleted and made again gets another. Empty where the broker gives none."""
    start: int
    """The first offset that the log still has."""
    end: int


class Asker(Protocol):
    """Asks the broker. Nothing that reads or writes is in its way."""

    async def extents(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], Extent]:
        """What it has of the partitions now, each end before its topic's id was looked at. Raises `Unreachable`."""
        ...

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        """How many partitions each of these topics has. Raises `Unreachable`."""
        ...

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        """For how many seconds compaction keeps a tombstone there; None where the broker does not say. Raises `Unreachable`."""
        ...

    async def ends(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        """Where the partitions end now; in `seconds` at most, whatever the broker does. Raises `Unreachable`."""
        ...


class Route(Protocol):
    """The way to the cloud. What it calls, it calls on the loop."""

    def ship(
        self,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> Shipping:
        """A client for what goes out; a broker that is not there is `trouble`, not an error. Raises `Unreachable` where none can be made now."""
        ...

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[tuple[str, int], int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> Feed:
        """A client for what comes in, from these offsets on; the next look waits until `arrived` is done. Raises as `ship`."""
        ...

    def ask(self) -> Asker:
        """A client for questions. Raises as `ship`."""
        ...

    def rest(self) -> None:
        """Off the network, as far as nothing else is: no question comes before the next `ask`."""
        ...

    def deliver(self, topic: str, key: bytes, value: bytes, seconds: float) -> None:
        """Put one record into partition 0 and wait until the broker has it. Blocking. Raises `Unreachable`."""
        ...

    def records(
        self, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
    ) -> dict[bytes, Record]:
        """The record of each key: the one at the offset that it is `wanted` from, or else the last one before `end`; that also where the offset
        is -1. What is missing is not there.

        Blocking. Raises `Unreachable` if that takes more than `seconds` without anything read.
        """
        ...

    def history(self, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float) -> list[bytes]:
        """The values under `key` from offset `start` to before `end`, as far as the log still has them.

        Blocking. Raises `Unreachable` if that takes more than `seconds` without anything read.
        """
        ...
