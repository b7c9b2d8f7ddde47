"""Who wants to know when a document changes, and what they missed.

The last changes are kept in a bounded window, so that a watcher that comes back with the id of its last event gets what it
missed, or is told to read everything again (`resync`). A watcher that does not keep up gets the same. Who watches for a while and comes back, by
choice or because the connection broke, misses nothing: it knows an id from the beginning.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

from driftlog_schemas.identity import DocumentId

WINDOW = 10_000
QUEUE = 1_000
MAX_DIGITS = 18
"""Of the number in an event's id; what has more was never given out."""


class Change(NamedTuple):
    """One changed document; `document` None means: read everything again."""

    id: str
    document: DocumentId | None


class Watchers:
    """All watchers of an agent. `life` tells this life's event ids from an earlier one's."""

    def __init__(self, life: str) -> None:
        self._life = life
        self._count = 0
        self._window: deque[tuple[int, DocumentId]] = deque(maxlen=WINDOW)
        self._queues: set[asyncio.Queue[Change | None]] = set()

    def changed(self, document: DocumentId) -> None:
        """Tell everybody."""
        self._count += 1
        self._window.append((self._count, document))
        change = Change(self._id(self._count), document)
        for queue in self._queues:
            if queue.full():
                _emptied(queue).put_nowait(Change(change.id, None))
            else:
                queue.put_nowait(change)

    def anew(self) -> None:
        """Nobody can name what has changed: everybody reads again, and who comes back later too."""
        self._count += 1
        self._window.clear()
        for queue in self._queues:
            _emptied(queue).put_nowait(Change(self._id(self._count), None))

    def close(self) -> None:
        """Every watch ends."""
        for queue in self._queues:
            _emptied(queue).put_nowait(None)

    @property
    def now(self) -> str:
        """The id after which what is new comes."""
        return self._id(self._count)

    def watch(
        self, collection: str = "", scope: str = "", last_id: str = "", seconds: float | None = None
    ) -> AsyncIterator[Change]:
        """Changes from now, or from after `last_id`, of a collection and scope (empty for all), for so long (None: for ever)."""
        return self._watch(collection, scope, last_id or self.now, seconds)

    async def _watch(self, collection: str, scope: str, last_id: str, seconds: float | None) -> AsyncIterator[Change]:
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        queue: asyncio.Queue[Change | None] = asyncio.Queue(QUEUE)
        self._queues.add(queue)  # before looking back, so that nothing falls between what was missed and what comes
        try:
            for change in self._missed(last_id):
                if _wanted(change, collection, scope):
                    yield change
            while (following := await _next(queue, end)) is not None:
                if _wanted(following, collection, scope):
                    yield following
        finally:
            self._queues.discard(queue)

    def _missed(self, last_id: str) -> list[Change]:
        life, _, number = last_id.rpartition("-")
        oldest = self._window[0][0] if self._window else self._count + 1
        known = life == self._life and number.isdecimal() and len(number) <= MAX_DIGITS
        if not known or int(number) + 1 < oldest:
            return [Change(self._id(self._count), None)]
        return [Change(self._id(n), document) for n, document in self._window if n > int(number)]

    def _id(self, number: int) -> str:
        return f"{self._life}-{number}"


def _wanted(change: Change, collection: str, scope: str) -> bool:
    document = change.document
    return document is None or (
        (not collection or document.collection == collection) and (not scope or document.scope == scope)
    )


async def _next(queue: asyncio.Queue[Change | None], end: float | None) -> Change | None:
    """What comes next; None at the end of the watch."""
    try:
        async with asyncio.timeout_at(end):
            return await queue.get()
    except TimeoutError:
        return None


def _emptied(queue: asyncio.Queue[Change | None]) -> asyncio.Queue[Change | None]:
    while not queue.empty():
        queue.get_nowait()
    return queue
