"""Runs again what was built on a refused change, on the corrected view; a few at a time, for others wait for the loop too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

import structlog

from driftlog_edge.asking.again import Again, NotNow, Round
from driftlog_edge.errors import EdgeError, Evicted, TimedOut
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId

log = structlog.get_logger()

AGAIN_AT_ONCE = 50
APART_SECONDS = 2.0
"""Between two rounds, where something had to be passed over."""
FETCH_SECONDS = 30.0
Bring: TypeAlias = Callable[[DocumentId, float], Awaitable[None]]
"""Fetches what is evicted, within so many seconds. Raises `Evicted`, `TimedOut`."""


class Rerun:
    """The loop around `Again`. `moved` hears that something has changed, `send` that something may be sent."""

    def __init__(
        self,
        again: Again,
        committer: Committer,
        tasks: Tasks,
        moved: Callable[[], None],
        send: Callable[[], None],
        bring: Bring,
    ) -> None:
        self._again = again
        self._committer = committer
        self._tasks = tasks
        self._moved = moved
        self._send = send
        self._bring = bring
        self._running = False
        self._not_before = 0.0
        """When it is tried again what was passed over."""

    def take_back(self, space: str, partition: int, refused: Collection[bytes]) -> None:
        """Take back what was built on these documents, as far as it is not sealed; it runs again."""
        taken = self._again.take_back(space, partition, refused)
        if taken:
            shown = {keys.document_of_pending(key) for family, key in taken if family is Family.PENDING}
            self._committer.stage(taken, sync=True, changed=shown)

    def run(self) -> None:
        """Run what is marked; harmless when that is under way already."""
        soon = asyncio.get_running_loop().time() < self._not_before
        if not self._running and not soon and self._again.marked():
            self._running = True
            self._tasks.begin(self._all())

    async def _all(self) -> None:
        round = Round()
        try:
            while True:
                try:
                    if not await self._some(round):
                        break
                except NotNow as waits:
                    if not await self._brought(waits.why):
                        round.passed |= waits.documents
        except EdgeError as error:  # a full outbox or disk: it stays marked, and the next look tries again
            log.warning("what must run again waits", reason=str(error))
        finally:
            self._running = False
            if round.passed:
                self._not_before = asyncio.get_running_loop().time() + APART_SECONDS
            self._send()

    async def _brought(self, why: EdgeError | ContractError) -> bool:
        """Can a command run after all? What it looks at was evicted, and is here again."""
        if not isinstance(why, Evicted):
            log.debug("a command that must run again waits", reason=str(why))
            return False
        try:
            await self._bring(why.document, FETCH_SECONDS)
        except (Evicted, TimedOut) as error:
            log.debug("what must run again waits for what is evicted", reason=str(error))
            return False
        return True

    async def _some(self, round: Round) -> bool:
        """Run some; was there any? Raises `NotNow` for the first that waits."""
        done = None
        await self._committer.room()
        try:
            for _ in range(AGAIN_AT_ONCE):
                executed = self._again.next(round)
                if executed is None or executed.writes is None:
                    break
                done = self._committer.stage(executed.writes, sync=True, changed=executed.touched)
        finally:
            if done is not None:
                await done
                self._moved()
        return done is not None
