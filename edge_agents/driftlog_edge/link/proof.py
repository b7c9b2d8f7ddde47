"""Carries out the comparison with the cloud: counts the digests from the rows now and then, and begins the way back in where something differs.

What is compared and what follows is decided in `incoming/agreement` and `incoming/recount`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.agreement import Agreement
from driftlog_edge.incoming.recount import recount
from driftlog_edge.link.places import Places
from driftlog_edge.ports import Clock
from driftlog_edge.store import digests
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.digests import digest_of
from driftlog_edge.store.generations import serving
from driftlog_edge.store.journal import Journal
from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import ContractError

log = structlog.get_logger()

RECOUNT_SECONDS = 86_400.0
BREATH_SECONDS = 0.01
"""Between a hundred rows and the next: counting is in nobody's way."""


class Proof:
    """Of one agent, on its loop. `again` begins a connection that reads from where the partitions are to be read now."""

    def __init__(
        self,
        agreement: Agreement,
        places: Places,
        scopes: Collection[str],
        journal: Journal,
        committer: Committer,
        versions: Versions,
        clock: Clock,
        again: Callable[[], object],
    ) -> None:
        self.agreement = agreement
        self._places = places
        self._scopes = scopes
        self._journal = journal
        self._committer = committer
        self._versions = versions
        self._clock = clock
        self._again = again
        self._counting = Errand("recount", self._recount)
        self._healing = Errand("heal", self._heal)

    def run(self) -> None:
        """Count what is there, now and every day."""
        self._counting.run()

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        await self._counting.stop()
        await self._healing.stop()

    def in_step(self, topic: str, partition: int) -> None:
        """A partition of states was read to its end."""
        self.agreement.in_step(self._places.described((topic, partition))[0], partition, self._clock.monotonic())

    def tick(self) -> None:
        """Time has passed."""
        if self.agreement.due(self._clock.monotonic(), self._clock.wall_ms()):
            self._healing.run()

    async def _heal(self) -> None:
        writes = self.agreement.heal(self._clock.monotonic(), self._clock.wall_ms())
        if not writes:
            return
        try:
            await self._committer.stage(writes)
        except EdgeError as error:  # a full disk, for instance; what differs is found again
            log.warning("what differs from the cloud is not read again yet", reason=str(error))
            return
        self._again()

    async def _recount(self) -> None:
        while True:
            for topic, partition in list(self._places.states):
                try:
                    await self._recounted(self._places.described((topic, partition))[0], partition)
                except (EdgeError, ContractError) as error:  # the registry is away, or the disk is full
                    log.warning("a partition is not counted this time", topic=topic, reason=str(error))
            await self._counting.pause(RECOUNT_SECONDS)

    async def _recounted(self, space: str, partition: int) -> None:
        generation = serving(self._journal, space, partition)
        work = recount(self._journal, self._versions, space, partition, generation, self._scopes)
        while True:
            try:
                next(work)
            except StopIteration as end:
                wrong: dict[str, int] = end.value
                break
            await asyncio.sleep(BREATH_SECONDS)
        for scope, difference in wrong.items() if generation == serving(self._journal, space, partition) else ():
            digest = digest_of(self._journal, space, partition, generation, scope)
            right = digest._replace(own=digest.own ^ difference)
            log.warning("the rows of a scope are not what was counted", space=space, partition=partition, scope=scope)
            await self._committer.stage(digests.written(space, partition, generation, scope, right), sync=False)
            self.agreement.touched(space, partition, generation, scope)
        if wrong:
            self.agreement.looked_at(space, partition, self._clock.monotonic())
