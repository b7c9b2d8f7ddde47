"""A disk in memory with a database's promises and no more: batches are atomic, and only what was synced survives a power cut.

`families` is what the process sees. Batches that were written but not synced stand in `_unsynced`, in order; a killed process loses none
of them (the kernel has them), a power cut loses a seeded suffix. The process can be made to die at any write, just before it
or just after it, and the disk can be full for a while, in which case a write changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.simulation.life import ProcessDied
from tests.simulation.scheduler import Scheduler


class Put(NamedTuple):
    """One entry of a batch; `value` None deletes."""

    family: str
    key: bytes
    value: bytes | None


class OutOfSpace(Exception):
    """The disk took nothing of the batch."""


class Family:
    """An ordered map of bytes."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self.size = 0
        """In bytes."""

    def get(self, key: bytes) -> bytes | None:
        return self._entries.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        before = self._entries.get(key)
        known = before is not None
        self.size -= len(key) + len(before) if before is not None else 0
        self.size += len(key) + len(value) if value is not None else 0
        if value is None:
            if known:
                del self._entries[key]
                del self._keys[bisect_left(self._keys, key)]
        else:
            if not known:
                insort(self._keys, key)
            self._entries[key] = value

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries from `start` up to, not including, `end`. Safe against changes while it runs."""
        low = bisect_left(self._keys, start)
        high = len(self._keys) if end is None else bisect_left(self._keys, end)
        keys = self._keys[low:high]
        for key in reversed(keys) if reverse else keys:
            value = self._entries.get(key)
            if value is not None:
                yield key, value

    def copy(self) -> Family:
        twin = Family()
        twin._entries = dict(self._entries)
        twin._keys = self._keys[:]
        twin.size = self.size
        return twin

    def __len__(self) -> int:
        return len(self._keys)


class Disk:
    """One node's disk; it outlives the node's processes."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self._scheduler = scheduler
        self.name = name
        self.families: dict[str, Family] = {}
        self._safe: dict[str, Family] = {}
        self._unsynced: list[Sequence[Put]] = []
        self.full = False
        self.writes = 0
        self._deadly: int | None = None
        self._last: int | None = None

    def family(self, name: str) -> Family:
        return self.families.setdefault(name, Family())

    def write(self, batch: Sequence[Put], *, sync: bool) -> None:
        """Apply a batch whole. Raises `OutOfSpace`; `ProcessDied` if the world wants it."""
        self.writes += 1
        dies = self._deadly is not None and self._deadly <= self.writes
        if dies and self._scheduler.chance(0.5):
            self._deadly = None
            raise ProcessDied(f"{self.name}: before write {self.writes}")
        if self._last is not None and self._last <= self.writes:
            self.full, self._last = True, None
        if self.full:
            raise OutOfSpace(self.name)
        for put in batch:
            self.family(put.family).put(put.key, put.value)
        self._unsynced.append(batch)
        if dies:
            self._deadly = None
            raise ProcessDied(f"{self.name}: after write {self.writes}")
        if sync:
            self.sync()

    def sync(self) -> None:
        """Everything written so far survives a power cut."""
        self._settle(len(self._unsynced))

    def die_within(self, writes: int) -> None:
        """The process dies at one of the next `writes` writes."""
        self._deadly = self.writes + self._scheduler.between(1, writes)

    def fill_within(self, writes: int) -> None:
        """There is room for fewer than so many more."""
        self._last = self.writes + self._scheduler.between(1, writes)

    def make_room(self) -> None:
        """It takes writes from now on."""
        self.full, self._last = False, None

    def after_kill(self) -> None:
        """The process was killed: the kernel still has all that it wrote."""
        self._deadly = None

    def after_power_cut(self) -> None:
        """Of what was not synced, a prefix survives."""
        self._deadly = None
        self._settle(self._scheduler.between(0, len(self._unsynced)))
        self._unsynced.clear()
        self.families = {name: family.copy() for name, family in self._safe.items()}

    def backup(self) -> dict[str, Family]:
        """What a power cut would leave now at least."""
        return {name: family.copy() for name, family in self._safe.items()}

    def restore(self, backup: dict[str, Family]) -> None:
        """The disk is as it was when the backup was made."""
        self._unsynced.clear()
        self._safe = {name: family.copy() for name, family in backup.items()}
        self.families = {name: family.copy() for name, family in backup.items()}

    def wipe(self) -> None:
        """An empty disk."""
        self.families, self._safe, self._unsynced = {}, {}, []

    def _settle(self, count: int) -> None:
        for batch in self._unsynced[:count]:
            for put in batch:
                self._safe.setdefault(put.family, Family()).put(put.key, put.value)
        del self._unsynced[:count]
