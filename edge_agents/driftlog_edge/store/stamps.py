"""The stamps of this device's writes: its hybrid clock, kept over restarts and corrected by what the log says of time.

The device's own clock may be wrong by years, and was perhaps wrong only once. Three rules keep its stamps near real time:

- *what is received is bounded*: a stamp further ahead than 5 minutes of both the record that brought it and the device's own time is not
  followed;
- *what the log contradicts is taken back*: where a row of our chain says that a batch came stamped ahead of its append time, the clock goes back
  to real time, and remembers by how much the device's clock is ahead, if it still is;
- *it is never earlier than the log*: a record that was read has been appended, so its time has passed.

Going back never changes the order of the device's own writes: that is their seq. On a document whose own pending writes are stamped
within the bound the next stamp is above theirs all the same.
"""

from __future__ import annotations

from driftlog_crdt import HybridClock
from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_schemas import bounds

LATEST_MS = bounds.MAX_MS // 2
"""The time that a record has may be its writer's. None later counts (than in the year 4199): the stamps that come after one must find room too."""


class Stamps:
    """One replica's hybrid clock."""

    def __init__(self, journal: Journal, wall: Clock) -> None:
        self._journal = journal
        self._wall = wall
        self.clock = HybridClock()
        self.reload()
        journal.on_rollback(self.reload)

    def reload(self) -> None:
        """The clock as the store has it."""
        given, _ = keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))
        known, ahead_ms = keys.unpack_pair(self._journal.get(Family.META, keys.OBSERVED))
        self.clock = HybridClock(max(given, known), ahead_ms)

    def observe(self, stamp: int, at_ms: int) -> None:
        """A stamp came with a record of that time."""
        self.clock.observe(stamp, max(min(at_ms, LATEST_MS), self.clock.now_ms(self._wall.wall_ms())))

    def read(self, at_ms: int) -> None:
        """A record of that time was read."""
        self.clock.at_least(at_ms, self._wall.wall_ms())

    def contradicted(self, stamped_ms: int, append_ms: int) -> dict[Place, bytes | None]:
        """A batch of ours came stamped ahead of its append time. What to write so that it stays corrected."""
        self.clock.correct(stamped_ms, append_ms, self._wall.wall_ms())
        _, lsn = keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))
        return {(Family.META, keys.CLOCK): keys.pack_pair(self.clock.last, lsn), **self.kept()}

    def kept(self) -> dict[Place, bytes | None]:
        """What to write of the clock besides what every command writes."""
        return {(Family.META, keys.OBSERVED): keys.pack_pair(self.clock.last, self.clock.ahead_ms)}
