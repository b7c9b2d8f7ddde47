"""Reads: from the replica, of what is durable there, and honest about how fresh that is.

`eventual` answers at once. `causal` waits until the view has all that the session has seen of the document. `strong` waits until the own
writes of the document are merged, asks the broker where its state partition ends, and answers when the replica is there: what the
cloud had published when it was asked is in the answer. Without a way to the cloud it is refused, never guessed; a link that begins anew it waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping

from driftlog_edge.asking import sessions
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Consistency, Page, Reading
from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.asking.pages import TURN_BYTES, check_limit
from driftlog_edge.asking.progress import Progress
from driftlog_edge.errors import Evicted, LetGo, NotFound, NotHeld, NotReadable
from driftlog_edge.link.ends import Ends
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.ports import Family, Store
from driftlog_edge.store.catalogue import documents_of
from driftlog_edge.store.generations import Generations
from driftlog_edge.store.going_up import let_go
from driftlog_edge.store.shown import Shown
from driftlog_edge.store.views import View, present
from driftlog_edge.turns import in_turns
from driftlog_schemas import topics
from driftlog_schemas.bounds import MAX_ID, MAX_SCOPE
from driftlog_schemas.contract import AppContract, Json
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.running import check_name

SHOWN_AT_ONCE = 16
"""Documents of a page that are looked at in one turn; fewer where they are large."""


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
        scopes: Collection[str],
        store: Store,
        shown: Shown,
        generations: Generations,
        conflicts: ConflictBook,
        freshness: Freshness,
        ends: Ends,
        progress: Progress,
        bring: Callable[[DocumentId, float], Awaitable[None]],
        used: Callable[[DocumentId], None],
    ) -> None:
        """`bring` fetches what is evicted; `used` is told what is asked for by itself."""
        self._contract = contract
        self._scopes = scopes
        self._store = store
        self._shown = shown
        self._generations = generations
        self._conflicts = conflicts
        self._freshness = freshness
        self._ends = ends
        self._progress = progress
        self._bring = bring
        self._used = used

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
        check_name("id", document.id, MAX_ID)
        self.require_held(document.scope)
        time_left = _Countdown(seconds)
        while True:
            try:
                reading = await self._read(document, consistency, session, seen, max_age, time_left)
                self._used(document)
                return reading
            except Evicted as found:
                await self._bring(found.document, time_left())

    async def _read(
        self,
        document: DocumentId,
        consistency: Consistency,
        session: str,
        seen: Mapping[str, Mapping[str, int]],
        max_age: float | None,
        time_left: _Countdown,
    ) -> Reading:
        place = self._place(document)
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

    async def page(self, collection: str, scope: str, limit: int, after: str, max_bytes: int | None = None) -> Page:
        """Documents of one scope in id order, from after `after`; those that were deleted, evicted or let go and those of a newer release are passed over.

        It ends before a document with which it would be larger than `max_bytes`, as stored; one that is larger alone is a page by itself.
        """
        check_limit(limit)
        if after:
            check_name("after", after, MAX_ID)
        return await in_turns(self._page(self._contract.collection(collection).name, scope, limit, after, max_bytes))

    def _page(
        self, collection: str, scope: str, limit: int, after: str, max_bytes: int | None
    ) -> Generator[None, None, Page]:
        """Each turn looks anew at what there is after the last one, and each document is shown as its turn finds it."""
        result: list[tuple[str, Reading]] = []
        size = evicted = 0
        while True:
            self.require_held(scope)
            looked = turn = 0
            for document in documents_of(self._store, self._generations, collection, scope, after):
                if looked == SHOWN_AT_ONCE or turn >= TURN_BYTES:
                    break
                looked, after = looked + 1, document.id
                try:
                    view = self._shown.get(document)
                except NotReadable:  # counted in the status; asked for by itself it says so
                    continue
                except Evicted:
                    evicted += 1
                    continue
                turn += view.size
                if view.collection.document.exists(view.state) and not self._let_go(view):
                    size += view.size
                    if result and max_bytes is not None and size > max_bytes:
                        return Page(result, True, evicted)
                    result.append((document.id, self._reading(document, "")))
                    if len(result) == limit:
                        return Page(result, True, evicted)
            else:
                return Page(result, False, evicted)
            yield

    async def catch_up(self, place: tuple[str, int], seconds: float) -> None:
        """Return when the replica has of a state partition what the cloud had since this was called. Raises `Offline`, `TimedOut`."""
        await self._caught_up(place, _Countdown(seconds), "the replica has all that the cloud had")

    def require_held(self, scope: str) -> None:
        """Raise `NotHeld`, or `InvalidInput` for what cannot name a scope."""
        check_name("scope", scope, MAX_SCOPE)
        if scope not in self._scopes:
            raise NotHeld(
                f"scope {scope!r} is not held here", "add it: PUT /v1/scopes, or `driftlog edge scopes --add`"
            )

    def _reading(self, document: DocumentId, session: str) -> Reading:
        view = self._shown.get(document)
        value = self._present(view)
        place, max_age = self._place(document), view.collection.max_age
        moment = self._freshness.since(place)
        return Reading(
            id=document.id,
            value=value,
            document=view.collection.view(document.scope, document.id, view.collection.document.copy(view.state)),
            version=dict(view.state.vector),
            pending=len(view.pending),
            synced_at=None if moment is None else moment.wall_ms,
            age_seconds=self._freshness.age(moment),
            stale=max_age is not None and not self._freshness.younger(place, max_age),
            conflicts=self._conflicts.of(document),
            session=sessions.extend(session, {view.key.decode(): dict(view.state.vector)}),
        )

    def _present(self, view: View) -> dict[str, Json]:
        """What is here of it. Raises `NotFound`, `Deleted`; `LetGo` or `NotHeld` where it only goes up and nobody here knows what the cloud has."""
        if self._let_go(view):
            name, kind = "/".join(view.document), view.collection.name
            since = "; what was written since is not confirmed yet" if view.pending else ""
            raise LetGo(
                f"{name} was let go: {kind} only goes up, and the cloud has confirmed what was written here{since}",
                'ask the cloud\'s read model for it; how long it stays here is keep="..." in the declaration',
            )
        try:
            return present(view)
        except NotFound as error:
            if not self._generations.own_only(view.collection.name) or self._has_row(view):
                raise
            name, kind = "/".join(view.document), view.collection.name
            raise NotHeld(
                f"{name} is not held here: {kind} only goes up, so a device holds of it what it has written itself",
                "ask the cloud's read model for what others have written",
            ) from error

    def _let_go(self, view: View) -> bool:
        return self._generations.own_only(view.collection.name) and let_go(
            self._store, self._generations, view.document
        )

    def _has_row(self, view: View) -> bool:
        """Has the cloud said what is there?"""
        return self._store.get(Family.CONFIRMED, self._generations.key(self._store, view.document)) is not None

    def _place(self, document: DocumentId) -> tuple[str, int]:
        space = self._contract.spaces[self._contract.collection(document.collection).space]
        return topics.state_topic(space.name), partition_of(document.scope, space.partitions)

    def _has(self, document: DocumentId, wanted: Mapping[str, int]) -> bool:
        """Is all of it here, or never to be?"""
        view = self._shown.get(document)
        own = self._generations.own_only(view.collection.name)
        if own and not self._has_row(view) and (not view.pending or self._let_go(view)):
            return True  # which the answer says
        vector, unseen = view.state.vector, view.unseen  # of what nothing was seen there is nothing to wait for
        return all(max(vector.get(replica, 0), unseen.get(replica, 0)) >= seq for replica, seq in wanted.items())

    async def _barrier(self, document: DocumentId, place: tuple[str, int], time_left: _Countdown) -> None:
        cloud = self._ends.require_cloud
        await self._progress.until(
            lambda: not self._shown.get(document).pending, time_left(), "own writes are merged", check=cloud
        )
        await self._caught_up(place, time_left, "the replica has all that the cloud had")

    async def _fresh(self, place: tuple[str, int], max_age: float, time_left: _Countdown) -> None:
        if self._freshness.younger(place, max_age):
            return
        await self._caught_up(place, time_left, f"data is younger than {max_age:g} s")

    async def _caught_up(self, place: tuple[str, int], time_left: _Countdown, what: str) -> None:
        """Return when the replica has what the cloud had at some moment since this was called."""
        cloud = self._ends.require_cloud
        await self._progress.until(lambda: self._ends.begun, time_left(), "the link has begun anew", check=cloud)
        asked = self._freshness.now()
        there = await self._ends.caught_up(place, time_left())
        await self._progress.until(there, time_left(), what, check=cloud)
        self._freshness.in_step(place, asked)
