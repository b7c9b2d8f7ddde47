"""Commands that wait for a missing predecessor.

An op is never applied over a gap, and never skipped: its whole command is set aside, durably, in `<space>.parked`, and looked at
again when the dot that it waits for is merged (its *blocker*: the first missing one; there may be further ones then). So a wake-up costs
what it wakes, not what is parked. Because seqs are dense, later commands of that replica on the same documents meet a gap
themselves and queue up behind it.

What waits is bounded, in all and per replica, so that one device with a hole in its log cannot take all places; over the bound the
device is told to send again later, which costs nothing because it keeps every op until the merged state covers it.

A released command's tombstone is published after its states are stored: a crash in between finds it parked again, and trying it
again is a duplicate, while the other order could lose it.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_schemas.messages import Batch, Command, Device

MAX_PARKED = 10_000
REPLICA_SHARE = 2
"""One replica may take half of the places."""


class Blocker(NamedTuple):
    """The dot that must be merged first, on the document of this key."""

    key: bytes
    replica: str
    seq: int


class Parked:
    """A waiting command with what its merge needs."""

    __slots__ = ("append_ms", "batch", "blocker", "command", "device", "key", "offset")

    def __init__(self, command: Command, batch: Batch, device: Device, append_ms: int, offset: int) -> None:
        self.command = command
        self.batch = batch
        self.device = device
        self.append_ms = append_ms
        self.offset = offset
        self.key = f"{batch.replica}/{command.id}".encode()
        self.blocker: Blocker | None = None
        """None: it waits until all are looked at."""


class Parking:
    """The parked commands of one partition, in order of arrival."""

    def __init__(self, limit: int = MAX_PARKED) -> None:
        self._limit = limit
        self._all: dict[bytes, Parked] = {}
        self._blocked: dict[tuple[bytes, str], list[Parked]] = {}
        self._shares: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: bytes) -> bool:
        return key in self._all

    def add(self, parked: Parked, blocker: Blocker | None = None) -> bool:
        """Set a command aside; False when there is no room. One that waits already stays as it is."""
        if parked.key in self._all:
            return True
        replica = parked.batch.replica
        share = self._shares.get(replica, 0)
        if len(self._all) >= self._limit or share >= max(1, self._limit // REPLICA_SHARE):
            return False
        self._all[parked.key] = parked
        self._shares[replica] = share + 1
        self.block(parked, blocker)
        return True

    def block(self, parked: Parked, blocker: Blocker | None) -> None:
        """It waits for this dot now."""
        self._unblock(parked)
        parked.blocker = blocker
        if blocker is not None:
            self._blocked.setdefault(blocker[:2], []).append(parked)

    def woken(self, key: bytes, replica: str, seen: int) -> list[Parked]:
        """Those on this document that wait for a dot of `replica` up to `seen`, in order of arrival."""
        return [p for p in self._blocked.get((key, replica), ()) if p.blocker is not None and p.blocker.seq <= seen]

    def waiting(self) -> list[Parked]:
        """All of them, in order of arrival."""
        return list(self._all.values())

    def remove(self, parked: Parked) -> None:
        """It has been decided."""
        del self._all[parked.key]
        self._unblock(parked)
        replica = parked.batch.replica
        share = self._shares.pop(replica) - 1
        if share:
            self._shares[replica] = share

    def _unblock(self, parked: Parked) -> None:
        if parked.blocker is None:
            return
        queue = self._blocked[parked.blocker[:2]]
        queue.remove(parked)
        if not queue:
            del self._blocked[parked.blocker[:2]]
        parked.blocker = None
