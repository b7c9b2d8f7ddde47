"""Waiting for something to become true, until a time.

What can make it true calls `moved`; besides, the condition is looked at now and then, so that a forgotten call makes an answer late
and never keeps it away. A wait that needs the cloud ends as soon as there is no way to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from driftlog_edge.errors import EdgeError, TimedOut

LOOK_SECONDS = 0.05


class Progress:
    """The waits of one agent."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()
        self._broken_off: Callable[[str], EdgeError] | None = None

    def break_off(self, why: Callable[[str], EdgeError] | None) -> None:
        """Whoever waits is answered so, told the id of its command (None: nobody any more). What it has given stands."""
        self._broken_off = why
        self.moved()

    def moved(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(
        self,
        condition: Callable[[], bool],
        seconds: float,
        what: str,
        *,
        check: Callable[[], None] | None = None,
        command_id: str = "",
        late: Callable[[], str] = str,
    ) -> None:
        """Return when `condition` holds. `check` raises when waiting on has no sense. Raises `TimedOut`; `late` says what it waits for."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if self._broken_off is not None:
                        raise self._broken_off(command_id)
                    if condition():
                        return
                    if check is not None:
                        check()
                    await self._next()
        except TimeoutError as error:
            waits = f"; it waits for {for_}" if (for_ := late()) else ""
            raise TimedOut(f"not in the time given: {what}{waits}", "ask again later", command_id) from error

    async def _next(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._moved.wait()
        except TimeoutError:  # time to look all the same
            return
