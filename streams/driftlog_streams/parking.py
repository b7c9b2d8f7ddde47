"""Commands that wait for a missing predecessor.

An op is never applied over a gap, and never skipped: its whole command is set aside, durably, in `<space>.parked`, and tried
again whenever one of its documents moves. What waits is bounded; over the bound the device is told to send again later, which costs
nothing because it keeps every op until the merged state covers it.

A released command's tombstone travels one flight later than its state: a crash in between finds it parked again, and
trying it again is a duplicate, while the other order could lose it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Batch, Command, Device

MAX_PARKED = 10_000


@dataclass(frozen=True, slots=True)
class Parked:
    """A waiting command with what its merge needs."""

    command: Command
    batch: Batch
    device: Device
    append_ms: int
    offset: int

    @property
    def key(self) -> bytes:
        return f"{self.batch.replica}/{self.command.id}".encode()


class Parking:
    """The parked commands of one partition, in order of arrival."""

    def __init__(self, limit: int = MAX_PARKED) -> None:
        self._limit = limit
        self._waiting: dict[bytes, Parked] = {}
        self._documents: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: bytes) -> bool:
        return key in self._waiting

    def add(self, parked: Parked) -> bool:
        """Set a command aside; False when there is no room. One that waits already stays as it is."""
        if parked.key in self._waiting:
            return True
        if len(self._waiting) >= self._limit:
            return False
        self._waiting[parked.key] = parked
        for key in _documents(parked.command):
            self._documents[key] = self._documents.get(key, 0) + 1
        return True

    def remove(self, parked: Parked) -> None:
        """It has been decided."""
        del self._waiting[parked.key]
        for key in _documents(parked.command):
            count = self._documents[key] - 1
            if count:
                self._documents[key] = count
            else:
                del self._documents[key]

    def concerned(self, moved: Iterable[bytes]) -> bool:
        """Does something wait for one of these documents?"""
        return bool(self._documents) and not self._documents.keys().isdisjoint(moved)

    def waiting(self) -> list[Parked]:
        """All of them, in order of arrival."""
        return list(self._waiting.values())


def _documents(command: Command) -> set[bytes]:
    return {document_key(document) for document, _ in command.ops}
