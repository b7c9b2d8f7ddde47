"""Another data key under a running agent: from its beginning on the new one seals, and what lies under older ones is written anew, bit by bit.

Each step looks at a few values and writes back those that are under an older key, while nobody else writes (`RocksStore.renew`); in between everybody works
as always, for at least as long as the step took. Then all is compacted, so that no file holds an overwritten value either, and only then do the older keys
leave the disk. Cut off anywhere, the next start goes on: what is under the newest key already costs it a look.

It begins when somebody asks, when a key is a year old (see `cipher` for why), and when the newest is not wrapped by the key that wraps now: then somebody has set
one, or another, and may have had reason to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Clock, Family
from driftlog_edge.store.key_file import KeyFile
from driftlog_edge.store.wrapping import WrappingKey

log = structlog.get_logger()

LOOK_SECONDS = 3600.0
"""How often it is seen whether a key is too old."""
AGAIN_SECONDS = 60.0
"""After a step that failed: a full disk, for instance."""


class Encrypted(Protocol):
    """What it needs of the store."""

    @property
    def keys(self) -> KeyFile: ...

    def renew(self, family: Family, start: bytes) -> bytes | None: ...

    def reclaim(self, families: Iterable[Family]) -> None: ...


class Rotation:
    """The data keys of one agent's store."""

    def __init__(
        self, store: Encrypted, clock: Clock, days: float, wrapping: Callable[[], Awaitable[Sequence[WrappingKey]]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._days = days
        self._wrapping = wrapping
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="driftlog-rotation")

    async def stop(self) -> None:
        """Stop between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def forbid(self) -> None:
        """The keys are to be destroyed: no file with any is written from now on."""
        self._store.keys.close()

    def facts(self) -> dict[str, Any]:
        """For the status."""
        newest = self._store.keys.newest
        return {
            "data_key": newest.key.id.hex(),
            "made_ms": newest.made_ms,
            "wrapped_by": newest.by or None,
            "rotating": self._store.keys.rotating,
            "problem": self._problem,
        }

    async def begin(self) -> None:
        """A new key seals when this returns; the rest follows. While older ones are being replaced nothing begins.

        Raises `KeyUnusable`, `DiskFull`; then nothing has changed.
        """
        async with self._turn:
            if not self._store.keys.rotating:
                wrapping = await self._wrapping()
                await asyncio.to_thread(self._store.keys.begin, self._clock.wall_ms(), wrapping)
                log.info("another data key", **self.facts())
        self._asked.set()

    async def _run(self) -> None:
        while True:
            self._asked.clear()
            try:
                if self._store.keys.due(self._clock.wall_ms(), self._days):
                    await self.begin()
                if self._store.keys.rotating:
                    await self._replace()
                    continue  # something may have become due meanwhile
                self._problem = ""
            except EdgeError as error:
                self._problem = str(error)
                log.warning("the data key is not replaced yet", reason=self._problem)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()

    async def _replace(self) -> None:
        """All that is under older keys goes under the newest; then those go."""
        for family in Family:
            start: bytes | None = b""
            while start is not None:
                begun = time.monotonic()
                start = await asyncio.to_thread(self._store.renew, family, start)
                await asyncio.sleep(time.monotonic() - begun)
        await asyncio.to_thread(self._store.reclaim, tuple(Family))
        await asyncio.to_thread(self._store.keys.finish)
        log.info("no value is under an older data key", **self.facts())
