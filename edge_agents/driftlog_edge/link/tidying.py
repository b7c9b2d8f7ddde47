"""Carries out what is left to do after a partition was read again: a few rows at a time, beside everything else.

What that is follows from the store (`incoming/returning`), so a run that was cut off is simply begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.puller import Puller
from driftlog_edge.ports import Family, Store
from driftlog_edge.store.committer import Committer

log = structlog.get_logger()

AGAIN_SECONDS = 30.0
ROWS = (Family.CONFIRMED, Family.UNREAD)
"""Where a generation that is over leaves its rows."""


class Tidying:
    """Tidies the store of one agent, on its loop. `moved` hears that something has changed."""

    def __init__(
        self,
        puller: Puller,
        committer: Committer,
        store: Store,
        moved: Callable[[], None],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._puller = puller
        self._committer = committer
        self._store = store
        self._moved = moved
        self._threads = threads
        self._wanted = False
        self._errand = Errand("tidying", self._run)

    def run(self) -> None:
        """There may be something to do."""
        self._wanted = True
        self._errand.run()

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        await self._errand.stop()

    async def _run(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                if await self._tidied():
                    await asyncio.get_running_loop().run_in_executor(self._threads, self._store.reclaim, ROWS)
            except EdgeError as error:  # a full disk, for instance
                log.warning("what was read anew is not tidied yet", reason=str(error))
                self._wanted = True
                await self._errand.pause(AGAIN_SECONDS)

    async def _tidied(self) -> bool:
        some = False
        steps = self._puller.returns.tidy()
        while True:
            async with self._committer.turn:
                pulled = await _next(steps)
                if pulled is None:
                    return some
                some |= bool(pulled.writes)
                done = self._committer.stage(pulled.writes, sync=False, changed=pulled.shown)
                self._puller.staged(pulled)
            await done
            self._moved()


async def _next(steps: Iterator[Pulled | None]) -> Pulled | None:
    """The next that is to be written; None when all is done."""
    for pulled in steps:
        if pulled is not None:
            return pulled
        await asyncio.sleep(0)
    return None
