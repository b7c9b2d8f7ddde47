"""Since when the replica is known to have all of a state partition.

A time is kept by both clocks: the wall's is shown to people, the monotonic one gives ages, so that a clock that is set does not make old
data young. Over a restart the age goes on from where it was, by the same monotonic clock. When the machine was started anew meanwhile, nobody
knows how long it was off: a wall clock without a battery goes on from where it last was, or from some day in the past, and looks no different
from a right one. Then the age that is told is the least it can be, by the wall, and no promise of freshness is kept from it until the cloud
was met again.

A feed that has come to the end of a partition does not say of which topic: a client goes on in one that was made anew under the same name. So its word
counts only once the broker has named the topic afterwards, and it is the one that was read (`identified`): topics do not come back, so it was
that one before, too. What is promised, and every age that is told, is of such a moment.

What is known is written down now and then, ages too when nothing is new: a crash costs a minute of knowledge, and never makes an age
smaller by more than that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeAlias

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Clock, Family
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal

log = structlog.get_logger()

KEEP_SECONDS = 10.0
KEEP_AGES_SECONDS = 60.0
ASK_SECONDS = 15.0

Partition: TypeAlias = tuple[str, int]
"""(state topic, partition)"""


class Moment(NamedTuple):
    """A time by both clocks. `sure` is False when it may lie further back than `at` says."""

    wall_ms: int
    at: float
    sure: bool = True


class Freshness:
    """What is known of each state partition."""

    def __init__(self, partitions: Iterable[Partition], journal: Journal, committer: Committer, clock: Clock) -> None:
        self._committer = committer
        self._clock = clock
        self._known = _read(journal.get(Family.META, keys.FRESHNESS), set(partitions), clock)
        self._kept = dict(self._known)
        self._heard: dict[Partition, Moment] = {}
        """When the feed last was at the end of what may be the topic that was read."""
        self._keep_at = self._keep_ages_at = 0.0

    def follow(self, partitions: Iterable[Partition], again: Collection[Partition]) -> None:
        """From now on these partitions are followed, and `again` are read from their start."""
        followed = set(partitions)
        self._known = {p: m for p, m in self._known.items() if p in followed and p not in again}
        self._heard.clear()

    def now(self) -> Moment:
        """This moment."""
        return Moment(self._clock.wall_ms(), self._clock.monotonic())

    def heard(self, partition: Partition, moment: Moment) -> bool:
        """The feed was at the end of it at that moment. Should the topic be asked for soon, because what is known is old?"""
        self._heard[partition] = moment
        known = self._known.get(partition)
        return known is None or not known.sure or moment.at - known.at > ASK_SECONDS

    def identified(self, partition: Partition, asked: Moment) -> None:
        """Its topic is the one that is read, said the broker, who was asked at that moment."""
        heard = self._heard.get(partition)
        if heard is not None and heard.at <= asked.at:
            self.in_step(partition, heard)

    def in_step(self, partition: Partition, moment: Moment) -> None:
        """The replica had all of it at that moment, and it was the topic that is read."""
        known = self._known.get(partition)
        if known is None or not known.sure or known.at < moment.at:
            self._known[partition] = moment

    def since(self, partition: Partition) -> Moment | None:
        """When that was last so; None before the first contact ever."""
        return self._known.get(partition)

    def age(self, moment: Moment | None) -> float | None:
        """Seconds since then, at least."""
        return None if moment is None else max(0.0, self._clock.monotonic() - moment.at)

    def younger(self, partition: Partition, seconds: float) -> bool:
        """Is what the replica has of it surely at most this old?"""
        moment = self._known.get(partition)
        age = self.age(moment)
        return moment is not None and moment.sure and age is not None and age <= seconds

    def tick(self, now: float) -> None:
        """Write down what is new, now and then."""
        if now >= self._keep_ages_at or (now >= self._keep_at and self._known != self._kept):
            self._keep_at = now + KEEP_SECONDS
            self.keep()

    def keep(self) -> None:
        """Write down what is known. If the disk does not take it, the next life knows an older time."""
        if self._known:
            now = self.now()
            self._keep_ages_at = now.at + KEEP_AGES_SECONDS
            steps = [[*p, m.wall_ms, now.at - m.at, m.sure] for p, m in self._known.items()]
            kept = {"wall_ms": now.wall_ms, "at": now.at, "boot": self._clock.boot(), "steps": steps}
            try:
                self._committer.stage({(Family.META, keys.FRESHNESS): json.dumps(kept).encode()}, sync=False)
            except EdgeError as error:  # nothing is taken any more
                log.warning("since when the replica is in step is not written down", reason=str(error))
            self._kept = dict(self._known)


def without(kept: bytes, partitions: Collection[Partition]) -> bytes:
    """What is written down, as if these had never been in step."""
    found = json.loads(kept)
    found["steps"] = [step for step in found["steps"] if (step[0], step[1]) not in partitions]
    return json.dumps(found).encode()


def elsewhere(kept: bytes, of: Collection[Partition], now: Collection[Partition]) -> bytes:
    """What is written down, when what lay in `of` lies in `now`: each is as old as the oldest of them, and unknown where one of them is."""
    found = json.loads(kept)
    before = [step for step in found["steps"] if (step[0], step[1]) in of]
    found["steps"] = [step for step in found["steps"] if step not in before]
    if before and len(before) == len(of):
        _, _, wall_ms, age, _ = max(before, key=lambda step: float(step[3]))
        sure = all(step[4] for step in before)
        found["steps"] += [[topic, partition, wall_ms, age, sure] for topic, partition in sorted(now)]
    return json.dumps(found).encode()


def _read(kept: bytes | None, partitions: set[Partition], clock: Clock) -> dict[Partition, Moment]:
    """What an earlier life knew, with the time since then."""
    if kept is None:
        return {}
    found = json.loads(kept)
    at = clock.monotonic()
    by_wall = (clock.wall_ms() - found["wall_ms"]) / 1000
    if found["boot"] and found["boot"] == clock.boot() and at >= found["at"]:
        off, sure = at - found["at"], True
    else:
        off, sure = max(0.0, by_wall), False
    return {
        (topic, partition): Moment(wall_ms, at - off - age, sure and was_sure)
        for topic, partition, wall_ms, age, was_sure in found["steps"]
        if (topic, partition) in partitions
    }
