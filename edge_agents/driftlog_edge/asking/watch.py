"""Who wants to know when a document changes, and what they missed.

A watcher is a place in the store's log of changes (`store/changes`) and reads on from there at its own pace; so however many there are and however
slow they read, a change is kept once. Who comes back with the id of its last event gets what it missed, also after the agent was restarted, or is told to
read everything again (`resync`): when it was away, or slow, for longer than changes are kept, when the id is of another folder, and when it is of
something that power loss or an older copy of the folder has undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from driftlog_edge.store.changes import ChangeLog, Entry, Mark, Numbered
from driftlog_schemas.identity import DocumentId, parse_document_key

RECENT = 1_000
"""Changes at hand; a watcher that is further behind reads them from the store."""
AT_ONCE = 200
"""Changes that a watcher is given before others may run."""
PASSED_OVER = 1_000
"""Changes that a watcher does not want, until it is told how far it has come: so that its id leads on as long as others change."""
MAX_DIGITS = 18
"""Of the number in an event's id; what has more was never given out."""


class Change(NamedTuple):
    """One changed document; `document` None means: read everything again."""

    id: str
    document: DocumentId | None


class Passed(NamedTuple):
    """The watch has come so far, and nothing of it was wanted."""

    id: str


class Watchers:
    """All watchers of an agent."""

    def __init__(self, changes: ChangeLog) -> None:
        self._changes = changes
        self._recent: list[tuple[Mark, Change]] = []
        """The last that were told while somebody watched, without a gap."""
        self._watching = 0
        self._more = asyncio.Event()
        """Set, and another one put in its place, when there are more."""
        self._closed = False
        changes.on_told(self._told)

    def close(self) -> None:
        """Every watch ends."""
        self._closed = True
        self._more.set()

    @property
    def now(self) -> str:
        """The id after which what is new comes."""
        return _id(self._changes.last)

    def watch(
        self, collection: str = "", scope: str = "", last_id: str = "", seconds: float | None = None
    ) -> AsyncIterator[Change]:
        """Changes from now, or from after `last_id`, of a collection and scope (empty for all), for so long (None: for ever)."""
        return only_changes(self.events(collection, scope, last_id, seconds))

    def events(
        self, collection: str = "", scope: str = "", last_id: str = "", seconds: float | None = None
    ) -> AsyncIterator[list[Change | Passed]]:
        """The same, as many at once as there are, and now and then how far it has come."""
        return self._events(collection, scope, last_id or self.now, seconds)

    async def _events(
        self, collection: str, scope: str, last_id: str, seconds: float | None
    ) -> AsyncIterator[list[Change | Passed]]:
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._watching += 1
        try:
            async for event in self._reading(collection, scope, last_id, end):
                yield event
        finally:
            self._watching -= 1

    async def _reading(
        self, collection: str, scope: str, last_id: str, end: float | None
    ) -> AsyncIterator[list[Change | Passed]]:
        mark, passed = _mark(last_id), 0
        known = mark is not None and self._changes.leads_on(mark)
        while not self._closed:
            more = self._more  # before looking, so that nothing falls between what is there and what comes
            found = self._after(mark) if mark is not None and known else None
            if found is None:
                mark, known = self._changes.last, True
                yield [Change(_id(mark), None)]
                continue
            events: list[Change | Passed] = []
            for _, change in found:
                if _wanted(change, collection, scope):
                    passed = 0
                    events.append(change)
                    continue
                passed += 1
                if passed == PASSED_OVER:
                    passed = 0
                    events.append(Passed(change.id))
            if events:
                yield events
            if found:
                mark = found[-1][0]
                await asyncio.sleep(0)  # others run, also where whoever reads this keeps up
            elif not await _set(more, end):
                return

    def _after(self, mark: Mark) -> Sequence[tuple[Mark, Change]] | None:
        """Some of what follows a mark that leads on; None when it is not kept any more."""
        last = self._changes.last.number
        at_hand = len(self._recent) - (last - mark.number)
        if at_hand >= 0:
            return self._recent[at_hand : at_hand + AT_ONCE]
        found = self._changes.after(mark.number, AT_ONCE)
        return None if found is None else _read(found)

    def _told(self, entry: Entry) -> None:
        if not self._watching:
            self._recent.clear()
            return
        self._recent += _read(entry.changes())
        if len(self._recent) > 2 * RECENT:
            del self._recent[:-RECENT]
        more, self._more = self._more, asyncio.Event()
        more.set()


async def only_changes(events: AsyncIterator[list[Change | Passed]]) -> AsyncIterator[Change]:
    """One at a time, without how far it has come."""
    async for some in events:
        for event in some:
            if isinstance(event, Change):
                yield event


def _read(changes: Sequence[Numbered]) -> list[tuple[Mark, Change]]:
    return [(mark, Change(_id(mark), None if key is None else parse_document_key(key))) for mark, key in changes]


def _id(mark: Mark) -> str:
    return f"{mark.run}-{mark.number}"


def _mark(id: str) -> Mark | None:
    """None for what no agent gave out."""
    run, _, number = id.rpartition("-")
    known = run and number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS
    return Mark(run, int(number)) if known else None


def _wanted(change: Change, collection: str, scope: str) -> bool:
    document = change.document
    return document is None or (
        (not collection or document.collection == collection) and (not scope or document.scope == scope)
    )


async def _set(event: asyncio.Event, end: float | None) -> bool:
    """Wait for it; False when the time is over."""
    try:
        async with asyncio.timeout_at(end):
            await event.wait()
    except TimeoutError:
        return False
    return True
