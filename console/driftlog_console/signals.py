"""What has changed, by name, for who has a page open: the page reads again what the name means.

Names are few and counters only grow, so who was away misses nothing but repetitions.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping

PAUSE_SECONDS = 0.5
"""What changes more often is told together."""
BEAT_SECONDS = 15.0
"""Something is said so often at least, so that a broken stream is seen."""


class Signals:
    """Counters by name, and who waits for them. Of one event loop."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)
        self.listening = 0
        """How many follow."""
        self._counts: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._closed = False

    def tell(self, name: str) -> None:
        """What `name` stands for has changed."""
        self._counts[name] = self._counts.get(name, 0) + 1
        self._wake()

    def close(self) -> None:
        """Every stream ends."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    @property
    def mark(self) -> str:
        """Names this moment; of no use to another console, or to this one when it has started again."""
        return f"{self._life}-{sum(self._counts.values())}"

    def changes(self, since: str = "") -> AsyncIterator[frozenset[str]]:
        """Names that have changed since now or since the last ones; none at all where nothing did for a while.

        Where something has changed since the mark `since`, or it is not one of ours, everything that ever changed comes first.
        """
        return self._changes(dict(self._counts) if since in ("", self.mark) else {})

    async def _changes(self, seen: Mapping[str, int]) -> AsyncIterator[frozenset[str]]:
        self.listening += 1
        try:
            while True:
                moved, now = self._moved, dict(self._counts)
                changed = frozenset(name for name, count in now.items() if count != seen.get(name, 0))
                seen = now
                if changed:
                    yield changed
                    await asyncio.sleep(PAUSE_SECONDS)
                elif self._closed:
                    return
                elif not await set_in(moved, BEAT_SECONDS):
                    yield changed
        finally:
            self.listening -= 1


async def set_in(event: asyncio.Event, seconds: float) -> bool:
    """Is it set within so many seconds?"""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
