"""Changes of the agent itself that a caller waits for with an end, and that go on when he has gone.

Other scopes, aeroplane mode: they wait for the disk and for the link to close, and either may hang. Cut off in the middle such a change would
leave the store with the new state and the link with the old one. So it is nobody's to cut off: it runs beside its caller, who is told in his time how
far it is, and it ends in the old state or in the new one.

There is one at a time. Who comes while one is under way waits for it, and if that takes all his time nothing of his has begun: however often a
caller tries again, no queue grows behind a disk that hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from driftlog_edge.errors import EdgeError, TimedOut

log = structlog.get_logger()


class Lasting:
    """The changes of one agent."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def run(self, what: str, work: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
        """Do `work` after what is under way. `what` names it. Raises what it raises, and `TimedOut`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._task is not None:
            if not await _ended(self._task, deadline):
                under_way = self._task.get_name() if self._task is not None else what
                raise TimedOut(
                    f"not in the time given: {under_way} is still under way; nothing has changed", "try again later"
                )
        task = self._task = asyncio.create_task(work(), name=what)
        task.add_done_callback(self._over)
        try:
            ended = await _ended(task, deadline)
        finally:
            if not task.done():
                task.add_done_callback(_unheard)
        if not ended or task.cancelled():
            raise TimedOut(f"not in the time given: {what} is under way and goes on", "ask the agent later how it is")
        task.result()

    async def stop(self) -> None:
        """The agent ends. What was staged of a change stands; the next start goes on with it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _over(self, task: asyncio.Task[None]) -> None:
        self._task = None


async def _ended(task: asyncio.Task[None], deadline: float) -> bool:
    """Wait for it, at most so long; it does not notice."""
    await asyncio.wait([task], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    return task.done()


def _unheard(task: asyncio.Task[None]) -> None:
    """Its caller has gone: what became of it is told in the log."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, EdgeError):
        log.warning("a change failed after its caller was answered", what=task.get_name(), reason=str(error))
    elif error is not None:
        raise error
