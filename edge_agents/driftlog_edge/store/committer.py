"""Group commit: one thread writes what waits, one fsync for all of it, then everyone is answered.

While the disk is busy the next group gathers, so the more callers there are the fewer fsyncs each of them costs. Nobody is answered
before the write is durable. When the disk refuses, the journal gives up all that waits and every caller is told.

Callers that were answered together come back together. If their next writes made one group again, disk and loop would take turns and
each would idle half the time; so a group leaves as soon as it is half as large as the last one, and the disk writes one half while the
loop runs the commands of the other.

Who comes while as much waits as may waits for room in the order of coming, and goes ahead of who comes later: where many callers never stop, the disk is
never idle.

What need not be synced is written on the loop: the library lets nobody else run while it writes, whichever thread calls it, so handing over
would only cost. A sync is always the thread's: a disk that hangs must hold up nobody but those who wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Place, Store, Writes
from driftlog_edge.store.changes import Changed, ChangeLog
from driftlog_edge.store.journal import Journal, Ticket, changed_by, merged

log = structlog.get_logger()

HALF_AT_LEAST = 16
"""A group leaves early from this size on: a smaller one costs the loop more in handing over than the disk gains."""
_Write: TypeAlias = tuple[Writes, asyncio.AbstractEventLoop, Callable[[BaseException | None], None]]


class Committer:
    """Carries the journal's waiting writes to the store."""

    def __init__(self, journal: Journal, store: Store, changes: ChangeLog) -> None:
        self._journal = journal
        self._store = store
        self._changes = changes
        self._syncs = _Syncs(store)
        self._soon: asyncio.Handle | None = None
        """The next group leaves when the loop comes round."""
        self._half = HALF_AT_LEAST
        self.before_sync: Callable[[], None] = _nothing
        """Called from the loop before a group leaves that is going to be synced: what it stages shares that sync. It raises nothing."""
        self.turn = asyncio.Lock()
        """Held by whoever works something out in slices that rests on what is pending and confirmed, until it is staged: states, verdicts, what
        follows a return, a new life. Commands do not wait for it: they only add to what is pending."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: deque[asyncio.Future[None]] = deque()
        """Who waits for room, in the order of coming."""
        self._ended: EdgeError | None = None

    async def room(self) -> None:
        """Wait until there is room for what the caller is about to decide. What is decided is staged at once, for the next decision builds on it.

        Raises what `end` was told: then nothing may be decided any more.
        """
        if self._ended is None and (self._journal.full or self._queue):
            loop = asyncio.get_running_loop()
            turn: asyncio.Future[None] = loop.create_future()
            self._queue.append(turn)
            try:
                await turn
            finally:
                loop.call_soon(self._let_in)  # when this caller has staged, or gone
        if self._ended is not None:
            raise self._ended

    def _let_in(self) -> None:
        """The next who waits for room may go on, if there is some."""
        while self._queue and (self._ended is not None or not self._journal.full):
            turn = self._queue.popleft()
            if not turn.done():  # else the caller has gone
                turn.set_result(None)
                return

    def stage(
        self,
        writes: Mapping[Place, bytes | None],
        *,
        sync: bool = True,
        then: Callable[[], None] | None = None,
        changed: Changed = (),
    ) -> asyncio.Future[None]:
        """Let the writes wait for the next group, now; the future tells how it went.

        `changed` are the documents that readers see otherwise by it: watchers hear of them. `then` is called when they are in the store, whether the caller still waits or has gone.
        """
        if self._ended is not None:
            raise self._ended
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done(error: Exception | None) -> None:
            if error is None and then is not None:
                then()
            if future.done():  # the caller has gone; the write stands all the same
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.add_done_callback(_looked_at)

        self._journal.stage(writes, sync=sync, done=done, changed=changed)
        if self._idle.is_set():
            self._idle.clear()
            self._soon = loop.call_soon(self._come_round)
        elif sync and self._soon is not None and self._journal.waiting >= self._half:
            self._soon.cancel()
            self._next()
        return future

    def _come_round(self) -> None:
        """The loop has come round: nobody who stages is in the middle of anything."""
        self._soon = None
        try:
            if any(ticket.sync for ticket in self._journal.take()):
                self.before_sync()
        finally:
            self._next()

    def _next(self) -> None:
        self._soon = None
        group = self._journal.take()
        if not group:
            self._idle.set()
            return
        self._half = max(HALF_AT_LEAST, len(group) // 2)
        writes, sync = merged(group)
        writes.update(self._changes.note(changed_by(group)))
        if sync:
            self._syncs.write(writes, asyncio.get_running_loop(), partial(self._returned, group))
            return
        try:
            self._store.write(writes, sync=False)
        except EdgeError as error:
            self._finish(group, error)
        except BaseException as error:
            self._finish(group, error)
            raise
        else:
            self._finish(group, None)

    def _returned(self, group: list[Ticket], error: BaseException | None) -> None:
        self._finish(group, error)
        if error is not None and not isinstance(error, EdgeError):
            raise error  # a defect stays loud, but it must not leave later callers waiting

    def _finish(self, group: list[Ticket], error: BaseException | None) -> None:
        try:
            if error is None:
                self._journal.written(group)
                self._changes.written()
            else:
                self._changes.failed()
                self._give_up(error if isinstance(error, EdgeError) else EdgeError(repr(error)))
        finally:  # a defect goes on up, and leaves nobody waiting
            self._next()
            self._let_in()

    def _give_up(self, error: EdgeError) -> None:
        try:
            self._journal.failed(error)
        except (
            EdgeError
        ) as unreadable:  # a damaged store: what is remembered may not be true, so nothing is built on it
            log.error("what is in the store cannot be read again; it takes no writes any more", reason=str(unreadable))
            self.end(unreadable)

    def end(self, why: EdgeError) -> None:
        """From now on nothing is taken: who stages something is told why."""
        self._ended = why
        self._let_in()

    async def settled(self) -> None:
        """Return when all that waits now is in the store; what comes later is not waited for. Raises what they are told."""
        if not self._idle.is_set():
            await self.stage({}, sync=False)

    async def drained(self) -> None:
        """Return when nothing waits for the disk."""
        await self._idle.wait()

    def close(self) -> None:
        """Return when the thread has ended, after what it was given."""
        self._syncs.close()


class _Syncs:
    """The thread that syncs. An executor makes four objects and three hops for each piece of work, which with one caller cost as much as the
    sync itself; here a write goes over by a queue and comes back by one call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._given: SimpleQueue[_Write | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="driftlog-commit", daemon=True)
        self._thread.start()

    def write(
        self, writes: Writes, loop: asyncio.AbstractEventLoop, told: Callable[[BaseException | None], None]
    ) -> None:
        """Write and sync in the thread; `told` is called on the loop with the error, or None."""
        assert self._thread.is_alive(), "nothing is written after the close"
        self._given.put((writes, loop, told))

    def close(self) -> None:
        self._given.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            writes, loop, told = given
            error: BaseException | None = None
            try:
                self._store.write(writes, sync=True)
            except BaseException as raised:  # noqa: BLE001  # whatever it is, it is raised where it is told
                error = raised
            with suppress(RuntimeError):  # the loop is closed, and nobody is there to be told
                loop.call_soon_threadsafe(told, error)
            del given, writes, loop, told, error  # nothing is held while it waits


def _nothing() -> None:
    pass


def _looked_at(future: asyncio.Future[None]) -> None:
    future.exception()
