"""A running agent closes its folder and opens it again, because a space goes on elsewhere: nobody outside starts it anew for that.

Between the two there is nothing to answer from. Who can wait does (`asked`); who waits for more than the disk is told that what he has given is on it; everybody else is told to ask
again. It is tried until it succeeds or the agent ends, for the folder may lie half here and half there (`store/carrying`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog

from driftlog_edge.asking.progress import Progress
from driftlog_edge.errors import EdgeError, NotReady, TimedOut
from driftlog_edge.link.connectivity import backoff
from driftlog_schemas.errors import ContractError

log = structlog.get_logger()

T = TypeVar("T")
AGAIN_SECONDS = 5.0
"""About after how long a folder that was opened in vain is opened anew for the first time; each time it is about twice as long."""


class OpeningAnew:
    """Of one agent, on its loop."""

    def __init__(
        self,
        progress: Progress,
        leave: Callable[[Callable[[], EdgeError]], Awaitable[None]],
        come: Callable[[], Awaitable[bool]],
        start: Callable[[], Awaitable[None]],
    ) -> None:
        """`leave` closes what is open, and answers so from then on; `come` opens it, and says whether it is where the space goes on by then, or leaves the folder free; `start` begins what has to do with the cloud."""
        self._progress = progress
        self._leave, self._come, self._start = leave, come, start
        self._openings = 0
        self._in_vain, self._not_before = 0, 0.0
        """How often it was opened and lay where it had lain, for the disk had no room; and before when it is not tried again."""
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = ""

    @property
    def away(self) -> bool:
        """Is there nothing to answer from just now?"""
        return bool(self._away)

    def entered(self) -> None:
        """The agent begins."""
        self._ending.clear()
        self._task = None

    def opened(self) -> None:
        """The folder is open: it answers."""
        self._openings += 1
        self._away = ""

    def begin(self) -> None:
        """Close and open; nothing where that is under way, was in vain a moment ago, or the agent ends."""
        soon = asyncio.get_running_loop().time() < self._not_before
        if self._task is None and not soon and not self._ending.is_set():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_loud)

    async def ended(self) -> None:
        """The agent ends: return when nothing of this runs any more. The folder is open then, or free (`away`)."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        self._away = "this folder is opened anew, where a space goes on with another number of partitions"
        log.info("this folder is opened anew, for a space goes on elsewhere")
        self._progress.break_off(self._broken_off)
        await self._leave(self._moment)
        self._progress.break_off(None)
        attempt = 0
        while not self._ending.is_set():
            try:
                there = await self._come()
            except (EdgeError, ContractError) as error:
                attempt += 1
                self._away = f"this folder cannot be opened where a space goes on: {error}"
                log.error("this folder cannot be opened where a space goes on", reason=str(error))
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff(attempt, random.random)):
                        await self._ending.wait()
                continue
            self._in_vain = 0 if there else self._in_vain + 1
            if not there:
                self._not_before = asyncio.get_running_loop().time() + backoff(
                    self._in_vain, random.random, AGAIN_SECONDS
                )
            await self._start()
            self._task = None
            return

    def _moment(self) -> EdgeError:
        return NotReady(self._away, "ask again in a moment")

    def _broken_off(self, command_id: str) -> EdgeError:
        if not command_id:
            return self._moment()
        return TimedOut(f"{self._away}; command {command_id} is on the disk", "ask for its status", command_id)

    async def asked(self, ask: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Its answer. Where the folder is opened anew before that is given, and nothing has changed, the answer when it is open. Raises `NotReady` when that is not in the time given."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            opening, task = self._openings, self._task
            try:
                return await ask()
            except NotReady:
                left = end - asyncio.get_running_loop().time()
                task = self._task or task
                if left <= 0 or (task is None and opening == self._openings):
                    raise
                if task is not None:
                    await asyncio.wait([task], timeout=left)
                    if self._away or not task.done():
                        raise

    async def over(self) -> bool:
        """Return when the folder is open, if it is opened anew just now. Is it?"""
        if self._task is not None:
            await asyncio.wait([self._task])
        return not (self._away or self._ending.is_set())


def _loud(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
