"""The agent's store on a simulated disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from driftlog_edge.errors import DiskFull, EdgeError
from driftlog_edge.ports import Family, Writes
from tests.simulation.disk import Disk, OutOfSpace, Put


class DiskStore:
    """`ports.Store`. Opening it makes durable what is there, as RocksDB's recovery does."""

    refusal = ""
    """It can always be written to, as far as is known when it is opened."""
    damage = None

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        disk.sync()

    def get(self, family: Family, key: bytes) -> bytes | None:
        return self._disk.family(family.value).get(key)

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._disk.family(family.value).scan(max(prefix, after)):
            if not key.startswith(prefix):
                return
            if key > after:
                yield key, value

    def scan_keys(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[bytes]:
        return (key for key, _ in self.scan(family, prefix, after))

    def write(self, writes: Writes, *, sync: bool) -> None:
        try:
            self._disk.write([Put(family.value, key, value) for (family, key), value in writes.items()], sync=sync)
        except OutOfSpace as error:
            raise DiskFull("the simulated disk is full") from error

    def disk_bytes(self) -> int:
        return sum(family.size for family in self._disk.families.values())

    def reclaim(self, families: Iterable[Family]) -> None: ...

    def held_back(self, families: Iterable[Family]) -> int:
        return 0

    def superseded(self, family: Family) -> tuple[int, int]:
        return 0, 0

    def close(self, why: EdgeError | None = None) -> None: ...
