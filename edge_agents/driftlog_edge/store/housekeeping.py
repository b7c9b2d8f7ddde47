"""Runs the passes of `pruning` and `letting_go` now and then, between the agent's other work, and gives the disk back what they free.

RocksDB frees the room of deleted rows when it compacts, which an idle device may never come to do by itself. So after many deletions it is told
to, in a thread; and when an outage is over and all that waited is merged, for what the queue took. That lay there as batches, which are gone, and as what each
command had asked, of which only the answer stays. A family is written anew only where at least a quarter of it goes: so what that costs is bounded by what
was written to it, however long the history is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Family, Store
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.letting_go import LettingGo
from driftlog_edge.store.pruning import Pruning
from driftlog_edge.store.views import Views

log = structlog.get_logger()

PASS_SECONDS = 60.0
AGAIN_AFTER = 60
"""Passes, until one begins from the start."""
LOGS = (Family.OPLOG, Family.COMMANDS, Family.META, Family.PENDING, Family.OUTBOX, Family.SEALED, Family.BODIES)
"""What commands leave entries in until they are done."""
TRANSIENT = (Family.PENDING, Family.OUTBOX, Family.SEALED, Family.BODIES)
"""Those of them that are empty when nothing waits."""
HELD_BACK_BYTES = 8 << 20
"""So much may be held back by entries that are gone, before the disk gets it back when nothing waits."""
REWRITTEN_PER_FREED = 4
"""So many bytes of a family are written anew, at most, for one that the disk gets back. RocksDB estimates that, and often too low."""
RECLAIM_AFTER = 10_000
"""Deleted rows, until the disk gets them back."""
RECLAIM_BYTES = 8 << 20
"""Bytes of rows that were let go, until then."""
ROWS = (Family.CONFIRMED, Family.UNREAD, Family.CONFLICTS)
"""What a scope that was left leaves room in."""


class Housekeeping:
    """The background work on one agent's store."""

    def __init__(
        self,
        pruning: Pruning,
        letting_go: LettingGo,
        views: Views,
        committer: Committer,
        store: Store,
        look: Callable[[], None],
        drained: Callable[[], bool],
    ) -> None:
        """`look` is called before every pass; `drained` says whether no command waits for anything."""
        self._pruning = pruning
        self._letting_go = letting_go
        self._views = views
        self._committer = committer
        self._store = store
        self._look = look
        self._drained = drained
        self._deleted = 0
        self._freed = 0
        self._left = False
        """Did rows go from the disk, of a scope or many, since it was last told to give room back?"""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="driftlog-housekeeping")

    async def stop(self) -> None:
        """Stop between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def give_back(self) -> None:
        """A scope went from the disk: its room is given back with the next pass, however few its rows were."""
        self._left = True

    async def _run(self) -> None:
        passes = 0
        while True:
            await asyncio.sleep(PASS_SECONDS)
            passes += 1
            self._look()
            if passes % AGAIN_AFTER == 0:
                self._pruning.from_the_start()
            try:
                await self.tidy()
            except EdgeError as error:  # a full disk: what is done is forgotten when there is room to write it down
                log.warning("the logs are not pruned", reason=str(error))

    async def tidy(self) -> None:
        """One pass."""
        while (writes := self._pruning.step()) is not None:
            if writes:
                await self._committer.stage(writes, sync=False)
                self._deleted += len(writes)
            await asyncio.sleep(0)
        more = True
        while more:
            more = await self._let_go()
        families = (*LOGS, *ROWS) if self._left else LOGS
        if self._left or self._deleted >= RECLAIM_AFTER:
            self._deleted, self._freed, self._left = 0, 0 if self._left else self._freed, False
            await self._reclaim(families)
        elif self._drained():
            await self._reclaim_the_queue()

    async def _reclaim_the_queue(self) -> None:
        """What an outage has left on the disk, now that nothing waits."""
        if self._store.held_back(TRANSIENT) >= HELD_BACK_BYTES:
            await self._reclaim(TRANSIENT)
        if left := [family for family in LOGS if self._worth_it(family)]:
            await self._reclaim(left)

    def _worth_it(self, family: Family) -> bool:
        goes, total = self._store.superseded(family)
        return goes >= HELD_BACK_BYTES and goes * REWRITTEN_PER_FREED >= total

    async def _reclaim(self, families: Sequence[Family]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._store.reclaim, families)

    async def _let_go(self) -> bool:
        """Some of what only goes up and is due; was there any?"""
        async with self._committer.turn:
            step = self._letting_go.step()
            if step is None:
                return False
            done = self._committer.stage(step.writes, sync=False)
            for key in step.documents:
                self._views.forget(key)
            await done
        self._deleted += len(step.writes)
        self._freed += step.freed
        self._left |= self._freed >= RECLAIM_BYTES
        return True
