"""Work in the background of which there is one at a time: begun when there may be some, paused between attempts, given up at the end.

The work itself says when it is done, by returning. It may be asked for at any time; while it is under way that only ends its pause.
What it raises is a defect: it is told as the problem and goes on up to where the loop tells of it, and the work can be begun anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Errand:
    """One background task on the running loop. `work` makes its coroutine."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.problem = ""
        """Why it does not come to its end, in words; empty when all is well. The work says it, or a defect does."""

    @property
    def running(self) -> bool:
        """Is it under way, or in a pause?"""
        return self._task is not None

    def run(self) -> None:
        """Begin; harmless when it is under way already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"driftlog-{self._name}")
            self._task.add_done_callback(self._ended)

    def hurry(self) -> None:
        """Something has changed: do not sit out a pause."""
        self._news.set()

    async def pause(self, seconds: float) -> None:
        """For the work, between two attempts: so long, or until `hurry`."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def stop(self) -> None:
        """Give it up, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"a defect: {error!r}"
            raise error
