"""The places of commands that wait for a missing predecessor, and what each of them waits for.

An op is never applied over a gap, and never skipped: its whole command is set aside, durably, in `<space>.parked`, and looked at
again when the dot that it waits for is merged (its *blocker*: the first missing one; there may be further ones then). So a wake-up costs
what it wakes, not what is parked. Because seqs are dense, later commands of that replica on the same documents meet a gap
themselves and queue up behind it.

What waits is bounded, in number and in bytes (a command counts as its record), in all and per replica, so that one device with a hole in its log cannot take all places; over the bound the
device is told to send again later, which costs nothing because it keeps every op until the merged state covers it.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_streams.core.arrival import Arrival

MAX_PARKED = 10_000
MAX_BYTES = 64 << 20
"""Of what waits, about: so much is read again at each recovery."""
REPLICA_SHARE = 2
"""One replica may take half of the places."""


class Blocker(NamedTuple):
    """The dot that must be merged first, on the document of this key."""

    key: bytes
    replica: str
    seq: int


class Parking:
    """The parked commands of one partition, in order of arrival."""

    def __init__(self, limit: int = MAX_PARKED, limit_bytes: int = MAX_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}
        self._all: dict[bytes, Arrival] = {}
        self._blockers: dict[bytes, Blocker] = {}
        """A command without one waits until all are looked at."""
        self._queues: dict[tuple[bytes, str], list[Arrival]] = {}
        self._shares: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: bytes) -> bool:
        return key in self._all

    def add(self, arrival: Arrival, blocker: Blocker | None = None) -> bool:
        """Set a command aside; False when there is no room. One that waits already stays as it is."""
        if arrival.key in self._all:
            return True
        replica = arrival.batch.replica
        share, size = self._shares.get(replica, 0), len(arrival.value)
        mine = self._bytes_of.get(replica, 0) + size
        if len(self._all) >= self._limit or share >= max(1, self._limit // REPLICA_SHARE):
            return False
        if self._bytes + size > self._limit_bytes or mine > self._limit_bytes // REPLICA_SHARE:
            return False
        self._bytes += size
        self._bytes_of[replica] = mine
        self._all[arrival.key] = arrival
        self._shares[replica] = share + 1
        self.block(arrival, blocker)
        return True

    def block(self, arrival: Arrival, blocker: Blocker | None) -> None:
        """It waits for this dot now."""
        self._unblock(arrival)
        if blocker is not None:
            self._blockers[arrival.key] = blocker
            self._queues.setdefault(blocker[:2], []).append(arrival)

    def woken(self, key: bytes, replica: str, seen: int) -> list[Arrival]:
        """Those on this document that wait for a dot of `replica` up to `seen`, in order of arrival."""
        return [a for a in self._queues.get((key, replica), ()) if self._blockers[a.key].seq <= seen]

    def get(self, key: bytes) -> Arrival | None:
        """The one of this name that waits."""
        return self._all.get(key)

    def replace(self, arrival: Arrival) -> None:
        """The one of its name is this now; it waits for what it waited for."""
        blocker = self._blockers.get(arrival.key)
        self._unblock(arrival)
        self._all[arrival.key] = arrival
        self.block(arrival, blocker)

    def waiting(self) -> list[Arrival]:
        """All of them, in order of arrival."""
        return list(self._all.values())

    def of(self, replica: str) -> list[Arrival]:
        """Those of one replica, in order of arrival."""
        if replica not in self._shares:
            return []
        return [arrival for arrival in self._all.values() if arrival.batch.replica == replica]

    def remove(self, arrival: Arrival) -> None:
        """It has been decided."""
        self._unblock(arrival)
        arrival = self._all.pop(arrival.key)
        replica, size = arrival.batch.replica, len(arrival.value)
        self._bytes -= size
        share, mine = self._shares.pop(replica) - 1, self._bytes_of.pop(replica) - size
        if share:
            self._shares[replica], self._bytes_of[replica] = share, mine

    def _unblock(self, arrival: Arrival) -> None:
        blocker = self._blockers.pop(arrival.key, None)
        if blocker is None:
            return
        queue = self._queues[blocker[:2]]
        queue.remove(self._all[arrival.key])
        if not queue:
            del self._queues[blocker[:2]]
