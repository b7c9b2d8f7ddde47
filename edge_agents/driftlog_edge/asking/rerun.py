"""Runs again what was built on a refused change, on the corrected view; a few at a time, for others wait for the loop too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

import structlog

from driftlog_edge.asking.again import Again
from driftlog_edge.errors import EdgeError, Evicted, TimedOut
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_schemas.identity import DocumentId

log = structlog.get_logger()

AGAIN_AT_ONCE = 50
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

    def take_back(self, space: str, partition: int, refused: Collection[bytes]) -> None:
        """Take back what was built on these documents, as far as it is not sealed; it runs again."""
        taken = self._again.take_back(space, partition, refused)
        if taken:
            shown = {keys.document_of_pending(key) for family, key in taken if family is Family.PENDING}
            self._committer.stage(taken, sync=True, changed=shown)

    def run(self) -> None:
        """Run what is marked; harmless when that is under way already."""
        if not self._running and self._again.marked():
            self._running = True
            self._tasks.begin(self._all())

    async def _all(self) -> None:
        try:
            while self._again.marked():
                try:
                    await self._some()
                except Evicted as found:  # it looks at more than it changes
                    await self._bring(found.document, FETCH_SECONDS)
        except (Evicted, TimedOut) as error:
            log.debug("what must run again waits for what is evicted", reason=str(error))
        except EdgeError as error:  # a full outbox or disk: it stays marked, and the next look tries again
            log.warning("what must run again waits", reason=str(error))
        finally:
            self._running = False
            self._send()

    async def _some(self) -> None:
        done = None
        await self._committer.room()
        try:
            for _ in range(AGAIN_AT_ONCE):
                executed = self._again.next()
                if executed is None or executed.writes is None:
                    break
                done = self._committer.stage(executed.writes, sync=True, changed=executed.touched)
        finally:
            if done is not None:
                await done
                self._moved()
