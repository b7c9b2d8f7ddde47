"""A command on its way to its answer: executed, staged, durable, and as far as the caller wants to wait.

Between executing and staging nothing may happen: the next command builds on it. What became of a command is told of what is durable, so
an answer that was once given stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial

from driftlog_edge.asking import sessions
from driftlog_edge.asking.answers import Answer, Durability, Wait
from driftlog_edge.asking.executor import Executed
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.waiting import Waiting
from driftlog_edge.errors import Evicted, NotFound, Offline, Stale, TimedOut
from driftlog_edge.outgoing.outbox import SEALED_OPS, Outbox
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Family, Store
from driftlog_edge.store.command_log import Entry, Status, entry_of
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.handover import NotTakenAlong
from driftlog_edge.store.pending import mark_of
from driftlog_schemas.identity import DocumentId, parse_document_key

TURNS_AT_ONCE = 50
"""Commands of a list that run before others may: about as long as sealing a batch takes."""
CHANGES_AT_ONCE = SEALED_OPS
"""Changes of theirs after which the same holds."""
_AT_ONCE = nullcontext()
_FINAL = tuple(status for status in Status if status.final)
_AWAITED: dict[Wait, tuple[Status, ...]] = {
    "disk": (),
    "shipped": (Status.SHIPPED, Status.PARKED, *_FINAL),
    "merged": _FINAL,
}


class Submission:
    """Takes the commands of one agent. `durable` is told that a command has changed something, once that stands."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        outbox: Outbox,
        waiting: Waiting,
        shipper: Shipper,
        progress: Progress,
        durable: Callable[[], None],
        catch_up: Callable[[tuple[str, int], float], Awaitable[None]],
        bring: Callable[[DocumentId, float, int], Awaitable[None]],
        used: Callable[[Sequence[bytes]], None],
        durability: Durability,
    ) -> None:
        """`bring` fetches what is evicted, with some that follow; `used` is told what commands change."""
        self._store = store
        self._committer = committer
        self._outbox = outbox
        self._waiting = waiting
        self._shipper = shipper
        self._progress = progress
        self._durable = durable
        self._catch_up = catch_up
        self._bring = bring
        self._used = used
        self._durability = durability

    async def take(
        self,
        execute: Callable[[], Executed],
        wait: Wait,
        seconds: float,
        session: str = "",
        durability: Durability | None = None,
        order: AbstractAsyncContextManager[None] | None = None,
    ) -> Answer:
        """Execute, and answer when it is as far as `wait` says. Raises what `execute` raises, `DiskFull`, `Evicted`, `TimedOut`.

        With an `order`, it executes when that lets it. What it needs and is evicted is fetched first. Where fresher data is asked for, the cloud is asked for it once, if there is a way to it.
        """
        sessions.parse(session)  # a foreign token is refused before anything is written
        deadline = asyncio.get_running_loop().time() + seconds
        executed, stale, ahead = None, None, 1
        try:
            async with asyncio.timeout_at(deadline):
                async with order or _AT_ONCE:
                    while executed is None:
                        await self._committer.room()
                        try:
                            # Nothing may come between this and staging: the next command builds on it.
                            executed = execute()
                            kept = self._kept(executed, durability or self._durability)
                        except NotTakenAlong as waiting:
                            await self._taken_along(waiting, seconds)
                        except Stale as found:
                            if stale is not None:
                                raise
                            stale = found
                            await self._refreshed(stale, deadline)
                        except Evicted as found:
                            await self._bring(found.document, deadline - asyncio.get_running_loop().time(), ahead)
                            ahead *= 2  # one that walks through a scope begins anew each time
                await kept
        except TimeoutError as error:
            raise (stale if stale is not None and executed is None else _late(executed)) from error
        if awaited := _AWAITED[wait]:
            command_id = executed.command_id
            await self._progress.until(
                lambda: self._reached(command_id, awaited),
                deadline - asyncio.get_running_loop().time(),
                f"command {command_id} is {wait}",
                command_id=command_id,
                late=lambda: self.answer(command_id).waiting_for,
            )
        elif executed.writes is not None:
            return _answer(executed.command_id, executed.entry, executed.entry.status, session)
        return self.answer(executed.command_id, session)

    async def take_all(
        self,
        all: Sequence[Callable[[], Executed]],
        wait: Wait,
        seconds: float,
        session: str = "",
        durability: Durability | None = None,
    ) -> list[Answer | Exception]:
        """`take` each, one after another, and answer all when all are as far. What one of them raises is its answer alone."""
        order, tasks = _Order(), []
        try:
            for number, execute in enumerate(all):
                if number and number % TURNS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # those before it run, and so may others
                counted = partial(order.counted, execute)
                tasks.append(asyncio.ensure_future(self.take(counted, wait, seconds, session, durability, order)))
            found = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()  # where the caller has gone
        return [_answer_or_error(one) for one in found]

    def _kept(self, executed: Executed, durability: Durability) -> Awaitable[None]:
        """Stage it; what is returned waits until it is on the disk. Who stops waiting changes nothing: what is staged stands or falls with its
        group.
        """
        if executed.writes is None:
            return self._answerable(executed.command_id)
        self._used(executed.touched)
        return self._committer.stage(
            executed.writes,
            sync=durability == "disk",
            then=self._durable if executed.touched else None,
            changed=executed.touched,
        )

    async def _taken_along(self, waiting: NotTakenAlong, seconds: float) -> None:
        handovers = self._outbox.lives.handovers
        handovers.want(waiting)
        place = waiting.space, waiting.partition
        await self._progress.until(
            lambda: not handovers.concerns(place, waiting.documents),
            seconds,
            "earlier changes are taken into a new life",
        )

    async def _refreshed(self, stale: Stale, deadline: float) -> None:
        try:
            await self._catch_up(stale.place, deadline - asyncio.get_running_loop().time())
        except (Offline, TimedOut) as error:
            raise stale from error

    def answer(self, command_id: str, session: str = "") -> Answer:
        """What became of a command. Raises `NotFound`."""
        entry, status = self._status(command_id)
        answer = _answer(command_id, entry, status, session)
        if status.final or not entry.dots:
            return answer
        why = self._waiting.of(entry.lsn, status, _document(entry))
        return replace(answer, waiting_for=why.what, waiting_until=why.until_ms)

    async def _answerable(self, command_id: str) -> None:
        """Return when the first command of this id is durable; what happens to the disk since does not matter."""
        if self._store.get(Family.COMMANDS, command_id.encode()) is None:
            await self._committer.settled()

    def _reached(self, command_id: str, awaited: Sequence[Status]) -> bool:
        entry, status = self._status(command_id)
        if status not in awaited:
            return False
        # Merged for a caller means: the merged state is here too.
        return status is not Status.MERGED or not any(
            mark_of(self._store, document.encode(), entry.lsn) for document, _, _ in entry.dots
        )

    def _status(self, command_id: str) -> tuple[Entry, Status]:
        entry = entry_of(self._store, command_id)
        if entry is None:
            raise NotFound(f"no command {command_id!r} was given to this agent")
        if entry.status is Status.PENDING and not self._unsealed(entry):
            return entry, Status.PENDING if self._shipper.carries(entry.lsn) else Status.SHIPPED
        return entry, entry.status

    def _unsealed(self, entry: Entry) -> bool:
        place = self._outbox.place_of(_document(entry))
        # of a collection that this release does not declare: it waits for one that does
        return place is None or self._outbox.queue.entries.holds(entry.lsn, place)


class _Order:
    """Commands of a list one after another, others between them after so many changes."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._changes = 0

    def counted(self, execute: Callable[[], Executed]) -> Executed:
        executed = execute()
        self._changes += len(executed.entry.dots)
        return executed

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        if self._changes >= CHANGES_AT_ONCE:
            self._changes = 0
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self._lock.release()
                raise

    async def __aexit__(self, *error: object) -> None:
        self._lock.release()


def _answer_or_error(found: Answer | BaseException) -> Answer | Exception:
    if isinstance(found, Answer | Exception):
        return found
    raise found


def _document(entry: Entry) -> DocumentId:
    """The first that a command with changes has changed."""
    return parse_document_key(entry.dots[0][0].encode())


def _late(executed: Executed | None) -> TimedOut:
    if executed is None:
        return TimedOut(
            "not in the time given: what waits for the disk leaves no room; nothing has changed", "try again later"
        )
    command_id = executed.command_id
    remedy = "ask for its status, or give it again under the same key"
    return TimedOut(f"not in the time given: command {command_id} is on the disk", remedy, command_id)


def _answer(command_id: str, entry: Entry, status: Status, session: str) -> Answer:
    seen: dict[str, dict[str, int]] = {}
    for document, replica, seq in entry.dots:
        seen.setdefault(document, {})[replica] = seq
    token = sessions.extend(session, seen)
    return Answer(command_id, status.value, entry.result, entry.dots, token, entry.code, entry.reason)
