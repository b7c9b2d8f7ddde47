"""Group commit: one thread writes what waits, one fsync for all of it, then everyone is answered.

While the disk is busy the next group gathers, so the more callers there are the fewer fsyncs each of them costs. Nobody is answered
before the write is durable. When the disk refuses, the journal gives up all that waits and every caller is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from driftlog_edge.errors import EdgeError
from driftlog_edge.journal import MAX_WAITING, Journal, merged
from driftlog_edge.ports import Place, Store


class Committer:
    """Carries the journal's waiting writes to the store."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self._journal = journal
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftlog-commit")
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def commit(self, writes: Mapping[Place, bytes | None], *, sync: bool = True) -> None:
        """Return when the writes are in the store (durable with `sync`). Raises `DiskFull`, `StoreFailed`."""
        while self._journal.waiting >= MAX_WAITING:
            await self._idle.wait()
        await self.stage(writes, sync=sync)

    def stage(self, writes: Mapping[Place, bytes | None], *, sync: bool = True) -> asyncio.Future[None]:
        """Let the writes wait for the next group, now; the future tells how it went."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done(error: Exception | None) -> None:
            if future.done():  # the caller has gone; the write stands all the same
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.add_done_callback(_looked_at)

        self._journal.stage(writes, sync=sync, done=done)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            loop.call_soon(self._next)
        return future

    def _next(self) -> None:
        group = self._journal.take()
        if not group:
            self._busy = False
            self._idle.set()
            return
        writes, sync = merged(group)
        loop = asyncio.get_running_loop()

        def finished(written: asyncio.Future[None]) -> None:
            error = written.exception()
            if error is None:
                self._journal.written(group)
            elif isinstance(error, EdgeError):
                self._journal.failed(error)
            else:
                self._journal.failed(EdgeError(repr(error)))
                raise error
            self._next()

        task = loop.run_in_executor(self._thread, lambda: self._store.write(writes, sync=sync))
        task.add_done_callback(finished)

    async def drained(self) -> None:
        """Return when nothing waits for the disk."""
        await self._idle.wait()

    def close(self) -> None:
        self._thread.shutdown()


def _looked_at(future: asyncio.Future[None]) -> None:
    future.exception()
