"""Reads: from the replica, and honest about how fresh that is.

`eventual` answers at once. `causal` waits until the view has all that the session has seen of the document. `strong` waits until the own
writes of the document are merged, asks the broker where its state partition ends, and answers when the replica is there: what the
cloud had published when it was asked is in the answer. Without a way to the cloud it is refused, never guessed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator, Mapping

from driftlog_edge.asking import sessions
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Consistency, Reading
from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.asking.executor import Executor
from driftlog_edge.asking.progress import Progress
from driftlog_edge.link.sync import Sync
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.views import Views
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix
from driftlog_schemas.partitioning import partition_of

MAX_PAGE = 1000


class _Countdown:
    """What is left of the time that a caller gave, whatever it goes to."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds

    def __call__(self) -> float:
        return max(0.0, self._end - self._loop.time())


class Reader:
    """The reading side of one replica."""

    def __init__(
        self,
        contract: AppContract,
        executor: Executor,
        views: Views,
        journal: Journal,
        conflicts: ConflictBook,
        sync: Sync,
        progress: Progress,
    ) -> None:
        self._contract = contract
        self._executor = executor
        self._views = views
        self._journal = journal
        self._conflicts = conflicts
        self._sync = sync
        self._progress = progress

    async def read(
        self,
        document: DocumentId,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: float | None = None,
        seconds: float = DEFAULT_TIMEOUT,
    ) -> Reading:
        """One document; see `EdgeAgent.read`."""
        seen = sessions.parse(session)
        place = self._place(document)
        time_left = _Countdown(seconds)
        if consistency == "causal":
            wanted = seen.get(document_key(document).decode(), {})
            await self._progress.until(
                lambda: self._has(document, wanted), time_left(), "what the session has seen is here"
            )
        elif consistency == "strong":
            await self._barrier(document, place, time_left)
        if max_age is not None:
            await self._fresh(place, max_age, time_left)
        return self._reading(document, session)

    def page(self, collection: str, scope: str, limit: int, after: str) -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`; deleted ones are passed over."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput("limit", f"is 1 to {MAX_PAGE}")
        name = self._contract.collection(collection).name
        result: list[tuple[str, Reading]] = []
        for document in self._documents(name, scope, after):
            view = self._views.get(document)
            if view.collection.document.exists(view.state):
                result.append((document.id, self._reading(document, "")))
                if len(result) == limit:
                    break
        return result

    def _documents(self, collection: str, scope: str, after: str) -> Iterator[DocumentId]:
        """Confirmed and pending ones, merged while both are walked: a page costs a page, not the scope."""
        prefix = scope_prefix(collection, scope)
        start = document_key(DocumentId(collection, scope, after)) if after else b""
        confirmed = (key for key, _ in self._journal.scan(Family.CONFIRMED, prefix, start))
        pending = (key[: -keys.LSN_BYTES - 1] for key, _ in self._journal.scan(Family.PENDING, prefix, start))
        last = start
        for key in heapq.merge(confirmed, pending):
            if key > last:
                last = key
                yield parse_document_key(key)

    def _reading(self, document: DocumentId, session: str) -> Reading:
        value = self._executor.document_json(document)
        view = self._views.get(document)
        moment = self._sync.freshness.since(self._place(document))
        return Reading(
            value=value,
            document=view.collection.view(document.scope, document.id, view.collection.document.copy(view.state)),
            version=dict(view.state.vector),
            pending=len(view.pending),
            synced_at=None if moment is None else moment.wall_ms,
            age_seconds=self._sync.freshness.age(moment),
            conflicts=self._conflicts.of(document),
            session=sessions.extend(session, {view.key.decode(): dict(view.state.vector)}),
        )

    def _place(self, document: DocumentId) -> tuple[str, int]:
        space = self._contract.spaces[self._contract.collection(document.collection).space]
        return topics.state_topic(space.name), partition_of(document.scope, space.partitions)

    def _has(self, document: DocumentId, wanted: Mapping[str, int]) -> bool:
        vector = self._views.get(document).state.vector
        return all(vector.get(replica, 0) >= seq for replica, seq in wanted.items())

    async def _barrier(self, document: DocumentId, place: tuple[str, int], time_left: _Countdown) -> None:
        cloud = self._sync.require_cloud
        await self._progress.until(
            lambda: not self._views.get(document).pending, time_left(), "own writes are merged", check=cloud
        )
        asked = self._sync.freshness.now()
        there = await self._sync.caught_up(place, time_left())
        await self._progress.until(there, time_left(), "the replica has all that the cloud had", check=cloud)
        self._sync.freshness.in_step(place, asked)

    async def _fresh(self, place: tuple[str, int], max_age: float, time_left: _Countdown) -> None:
        if self._sync.freshness.younger(place, max_age):
            return
        asked = self._sync.freshness.now()
        there = await self._sync.caught_up(place, time_left())
        await self._progress.until(
            there, time_left(), f"data is younger than {max_age:g} s", check=self._sync.require_cloud
        )
        self._sync.freshness.in_step(place, asked)
