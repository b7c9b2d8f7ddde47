"""Since when the replica is known to have all of a state partition.

Each time is kept by both clocks: the wall's is shown to people and survives a restart, the monotonic one gives ages, so that a clock that is
set does not make old data young. What is known is written down now and then; a crash costs a few seconds of knowledge, and a
replica that has been off for a week says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from driftlog_edge.ports import Clock, Family
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal

KEEP_SECONDS = 10.0

Partition: TypeAlias = tuple[str, int]
"""(state topic, partition)"""


class Moment(NamedTuple):
    """A time by both clocks."""

    wall_ms: int
    at: float


class Freshness:
    """What is known of each state partition."""

    def __init__(self, partitions: Iterable[Partition], journal: Journal, committer: Committer, clock: Clock) -> None:
        self._committer = committer
        self._clock = clock
        self._known: dict[Partition, Moment] = {}
        self._keep_at = 0.0
        now = self.now()
        for partition in partitions:
            if wall_ms := keys.unpack_number(journal.get(Family.META, keys.synced_key(*partition))):
                self._known[partition] = Moment(wall_ms, now.at - max(0, now.wall_ms - wall_ms) / 1000)
        self._kept = dict(self._known)

    def now(self) -> Moment:
        """This moment."""
        return Moment(self._clock.wall_ms(), self._clock.monotonic())

    def in_step(self, partition: Partition, moment: Moment) -> None:
        """The replica had all of it at that moment."""
        known = self._known.get(partition)
        if known is None or known.at < moment.at:
            self._known[partition] = moment

    def since(self, partition: Partition) -> Moment | None:
        """When that was last so; None before the first contact ever."""
        return self._known.get(partition)

    def age(self, moment: Moment | None) -> float | None:
        """Seconds since then."""
        return None if moment is None else max(0.0, self._clock.monotonic() - moment.at)

    def tick(self, now: float) -> None:
        """Write down what is new, now and then."""
        if now >= self._keep_at:
            self._keep_at = now + KEEP_SECONDS
            self.keep()

    def keep(self) -> None:
        """Write down what is new. If the disk does not take it, the next life knows an older time."""
        new = {p: moment for p, moment in self._known.items() if self._kept.get(p) != moment}
        if new:
            writes = {(Family.META, keys.synced_key(*p)): keys.pack_number(m.wall_ms) for p, m in new.items()}
            self._committer.stage(writes, sync=False)
            self._kept |= new
