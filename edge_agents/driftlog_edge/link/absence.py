"""How long this device was away, and what waits for a person because that was longer than a collection allows (`offline_limit`).

Who was away knows less the longer it lasts. Its writes are merged all the same, however old they are, unless a collection says for how long that is
right. Then nothing that changes it is sealed once the replica was in no step with its partition for as long; and when the broker answers again, before
anything is read, what waits there goes to the review list: kept and shown, and sent when a person applies it, on what is there by then.

What was sealed before goes as ever, for the log may have it. So in a partition with such a collection nothing is sealed while it is known that
there is no way: what is on its way then was written before that was known.

A device that was never in step was not away. After a power cut nobody knows for how long it was off (`freshness`): the least that it can be counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import structlog

from driftlog_edge.asking.overdue import Overdue
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.places import Places
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.store.committer import Committer
from driftlog_schemas.contract import AppContract

log = structlog.get_logger()

Partition: TypeAlias = tuple[str, int]
"""(space, partition)"""


class Absence:
    """Of one agent. `moved` hears that something has changed."""

    def __init__(
        self,
        contract: AppContract,
        places: Places,
        freshness: Freshness,
        shipper: Shipper,
        overdue: Overdue,
        committer: Committer,
        moved: Callable[[], None],
    ) -> None:
        self._limits = {
            space.name: limits
            for space in contract.spaces.values()
            if (limits := {c.name: c.offline_limit for c in space.collections.values() if c.offline_limit is not None})
        }
        """space -> collection -> seconds, of those that have a limit"""
        self._places = places
        self._freshness = freshness
        self._shipper = shipper
        self._overdue = overdue
        self._committer = committer
        self._moved = moved
        self._reviewing = asyncio.Lock()

    @property
    def reviewing(self) -> bool:
        """Is it being found out what goes to a person? Where that is much it takes its time, and nothing is sent before."""
        return self._reviewing.locked()

    def look(self, *, offline: bool) -> None:
        """Is a limit reached by now? `offline`: it is known that there is no way."""
        if self._limits:
            self._shipper.shut(frozenset(self._limited() if offline else self._away()))

    async def met(self) -> None:
        """The broker answers: what was written too far from it goes to a person. Who asks meanwhile waits, for two reviews would share the pace of one.

        Raises:
            DiskFull, StoreFailed: what is left is kept back until the next time.
        """
        async with self._reviewing:
            await self._review_all()

    async def _review_all(self) -> None:
        for place, seconds in self._away().items():
            over = {name: limit for name, limit in self._limits[place[0]].items() if seconds > limit}
            if count := await self._review(place, over, seconds):
                log.warning(
                    "commands wait for a person: this device was away for too long",
                    space=place[0],
                    partition=place[1],
                    commands=count,
                    seconds=round(seconds),
                )
                self._moved()

    def _limited(self) -> dict[Partition, tuple[str, int]]:
        """Where something has a limit -> its partition of states."""
        places = {(self._places.topics[topic][0], at): (topic, at) for topic, at in self._places.states}
        return {place: states for place, states in places.items() if place[0] in self._limits}

    def _away(self) -> dict[Partition, float]:
        """Where the replica was in no step for longer than something there allows -> for how many seconds."""
        ages = {place: self._freshness.age(self._freshness.since(at)) for place, at in self._limited().items()}
        return {p: age for p, age in ages.items() if age is not None and age > min(self._limits[p[0]].values())}

    async def _review(self, place: Partition, limits: dict[str, float], seconds: float) -> int:
        count = 0
        for step in self._overdue.steps(*place, limits, seconds):
            if step is None:
                await asyncio.sleep(0)
                continue
            count += step.reviewed
            await self._committer.stage(step.writes, sync=True, changed=step.documents)
        return count
