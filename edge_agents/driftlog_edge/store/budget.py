"""Keeps the store within its budget on the disk: tells when it comes near, and lets documents make room.

At `WARNED` it says so. At `FULL` what comes in waits: the disk first gets back what was removed already, then documents go (`eviction`) until the
store is down to `GOAL`. Those two are so far apart that a choice, which looks at every row, is made seldom. What cannot go is never refused a place: where
nothing more may go the budget is overdrawn and the status says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.eviction import Eviction
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.uses import Uses
from driftlog_edge.turns import in_turns
from driftlog_schemas.errors import ContractError

log = structlog.get_logger()

WARNED, FULL, GOAL = 0.8, 0.9, 0.75
"""Parts of the budget."""
LOOK_SECONDS = 2.0
KEEP_USES_SECONDS = 60.0
AT_ONCE = 200
"""Documents that go in one write."""
ROUNDS = 8
"""Choices that are made one after another, at most; the next look goes on."""
GROWN = 0.02
"""Where nothing could go, it is tried again when the store has grown by so much of the budget, or after `AGAIN_SECONDS`."""
AGAIN_SECONDS = 300.0


class DiskBudget:
    """Of one agent, on its loop. `limit` is in bytes, 0 for none; `forget` is told whose rows have gone; `refused` says whether the
    disk takes no writes, on which nothing goes: it could not be fetched again."""

    def __init__(
        self,
        limit: int,
        store: RocksStore,
        committer: Committer,
        eviction: Eviction,
        uses: Uses,
        forget: Callable[[bytes], None],
        refused: Callable[[], bool],
    ) -> None:
        self.limit = limit
        self._store = store
        self._committer = committer
        self._eviction = eviction
        self._uses = uses
        self._forget = forget
        self._refused = refused
        self._making_room = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._warned = False
        self._stuck: tuple[int, float] | None = None
        """How large the store was when nothing could go, and when that was."""
        self.evicted = 0
        """Documents that have gone since the agent started."""

    def set(self, limit: int) -> None:
        """Go by this budget from now on."""
        self.limit = limit
        self._stuck = None
        self.start()

    def start(self) -> None:
        """Look after it from now on, if there is one."""
        if not self.limit or self._task is not None:
            return
        self._task = asyncio.get_running_loop().create_task(self._run(), name="driftlog-budget")

    async def stop(self) -> None:
        """Stop between two steps; what is known of uses is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._keep_uses()

    @property
    def warning(self) -> str:
        """That the store comes near its budget, in words; empty when it does not."""
        used = self._store.disk_bytes()
        if not self.limit or used < WARNED * self.limit:
            return ""
        told = f"the store takes {100 * used // self.limit} % of its disk budget of {self.limit} bytes"
        return f"{told}, and nothing more may make room" if self._stuck else told

    def facts(self) -> dict[str, Any]:
        """For the status."""
        return {
            "budget_bytes": self.limit or None,
            "warning": self.warning,
            "exhausted": self._stuck is not None,
            "evictions": self.evicted,
        }

    async def room(self) -> None:
        """Return when there is room for what comes in, or none can be made. To be called outside of a turn."""
        if self.limit and self._store.disk_bytes() >= FULL * self.limit:
            await self._make_room()

    async def _run(self) -> None:
        loop, kept = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._tell()
            if not self.limit or self._store.disk_bytes() < FULL * self.limit:
                self._stuck = None
            await self.room()
            if loop.time() - kept >= KEEP_USES_SECONDS:
                kept = loop.time()
                await self._keep_uses()

    def _tell(self) -> None:
        warning = self.warning
        if bool(warning) != self._warned:
            self._warned = bool(warning)
            if warning:
                log.warning("the disk budget is nearly used up", warning=warning)
            else:
                log.info("the store is well within its disk budget again")

    async def _keep_uses(self) -> None:
        try:
            if writes := self._uses.written():
                await self._committer.stage(writes, sync=False)
        except EdgeError as error:  # a full disk: the order of what goes is a little older
            log.warning("when documents were used is not written down", reason=str(error))

    async def _make_room(self) -> None:
        async with self._making_room:
            for _ in range(ROUNDS):
                used = self._store.disk_bytes()
                if used < FULL * self.limit or self._refused() or self._in_vain(used):
                    return
                try:
                    await self._reclaim()
                    used = self._store.disk_bytes()
                    if used <= WARNED * self.limit:
                        return
                    gone = await self._evict(int(used - GOAL * self.limit))
                except (EdgeError, ContractError) as error:  # a full disk, for instance
                    log.warning("no room can be made", reason=str(error))
                    gone = 0
                if not gone:
                    self._stuck = (self._store.disk_bytes(), asyncio.get_running_loop().time())
                    return
                self._stuck = None

    def _in_vain(self, used: int) -> bool:
        if self._stuck is None:
            return False
        size, since = self._stuck
        return used < size + GROWN * self.limit and asyncio.get_running_loop().time() - since < AGAIN_SECONDS

    async def _reclaim(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._store.reclaim, tuple(Family))

    async def _evict(self, need: int) -> int:
        """How many documents have gone to make so many bytes of room."""
        chosen = iter(await in_turns(self._eviction.choose(need)))
        gone = 0
        while some := list(islice(chosen, AT_ONCE)):
            await self._committer.room()
            async with self._committer.turn:
                writes = self._eviction.evict(row for _, row, _ in some)
                done = self._committer.stage(writes, sync=False)
                for row in _rows(writes):
                    gone += 1
                    self._forget(keys.document_of_confirmed(row))
            await done
        self.evicted += gone
        if gone:
            log.info("documents were evicted", documents=gone, budget=self.limit)
        return gone


def _rows(writes: Writes) -> Iterator[bytes]:
    return (key for family, key in writes if family is Family.CONFIRMED)
