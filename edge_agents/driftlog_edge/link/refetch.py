"""Fetches evicted documents again, from the place that the topic has of them, when somebody asks for them.

What comes is the row that was evicted, or nothing: it is taken only if it counts in the digest of its scope as the marker does. A record that this replica
has not applied yet is not looked at, so no half group shows; what has changed since comes by itself, and moves the marker. Who asks while another
is being fetched waits for it, and what has gathered meanwhile is fetched together. A fetch goes on when whoever asked has no more time: on a thin link a partition takes
longer to be looked through than anybody waits, and begun anew for each of them it would never come to its end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import structlog

from driftlog_edge.errors import Evicted, Offline, TimedOut
from driftlog_edge.ports import Clock, Family, Place, Record, Route, Unreachable
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.digests import digest_of, row_digest, written
from driftlog_edge.store.evicted import ANYWHERE, Marker, Trace, back, marker_of
from driftlog_edge.store.generations import Generations
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix

log = structlog.get_logger()

MOST_AT_ONCE = 500
"""Documents that are fetched together."""
APART_SECONDS = 0.5
"""Between two attempts on one document: what was evicted may be overtaken by what is on its way in."""
FETCH_SECONDS = 10.0
"""A fetch that brings nothing for so long is given up."""


class Refetch:
    """Of one agent, on its loop. `require` raises `Offline` without a way to the cloud; `forget` is told whose rows are here again."""

    def __init__(
        self,
        route: Route,
        journal: Journal,
        committer: Committer,
        generations: Generations,
        versions: Versions,
        clock: Clock,
        require: Callable[[], None],
        forget: Callable[[bytes], None],
    ) -> None:
        self._route = route
        self._journal = journal
        self._committer = committer
        self._generations = generations
        self._versions = versions
        self._clock = clock
        self._require = require
        self._forget = forget
        self._wanted: dict[tuple[str, int], dict[bytes, None]] = defaultdict(dict)
        """Rows that somebody waits for, by (space, partition)."""
        self._fetching: dict[tuple[str, int], asyncio.Task[int]] = {}
        """What is being fetched of each."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftlog-refetch")
        self.fetched = 0
        """Documents that were fetched again since the agent started."""

    def close(self) -> None:
        """Whoever waits still waits in vain."""
        for task in self._fetching.values():
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def bring(self, document: DocumentId, seconds: float, ahead: int = 1) -> None:
        """Return when the document is here; with up to `ahead` of those evicted ones that follow it, for who walks through a scope.

        Raises:
            Evicted: there is no way to the cloud, or the broker does not answer.
            TimedOut: not in `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._marker(document) is not None:
                    await self._attempt(document, ahead)
        except TimeoutError as error:
            name = "/".join(document)
            raise TimedOut(
                f"not in the time given: {name} is evicted and is being fetched", "ask again later"
            ) from error

    def _marker(self, document: DocumentId) -> Marker | None:
        return marker_of(self._journal, self._generations.key(self._journal, document))

    async def _attempt(self, document: DocumentId, ahead: int) -> None:
        try:
            self._require()
        except Offline as error:
            raise Evicted.of(document) from error
        place = self._generations.place(document.collection, document.scope)
        first = self._generations.key(self._journal, document)
        wanted = self._wanted[place]
        wanted.update(dict.fromkeys((first, *self._following(document, min(ahead, MOST_AT_ONCE) - 1))))
        fetching = self._fetching.get(place)
        if fetching is not None:
            await asyncio.wait([fetching])
            return  # it may have come along, or its turn is now
        rows = [first, *(row for row in wanted if row != first)][:MOST_AT_ONCE]
        for row in rows:
            wanted.pop(row, None)
        fetching = self._fetching[place] = asyncio.create_task(self._fetched(place, rows), name="driftlog-refetch")
        fetching.add_done_callback(partial(self._over, place))
        await asyncio.wait([fetching])
        if fetching.cancelled():
            raise Evicted.of(document, "this agent ends")
        try:
            come = fetching.result()
        except Unreachable as error:
            raise Evicted.of(document, str(error)) from error
        if not come:
            await asyncio.sleep(APART_SECONDS)

    def _over(self, place: tuple[str, int], fetching: asyncio.Task[int]) -> None:
        del self._fetching[place]
        if (
            not fetching.cancelled() and (error := fetching.exception()) is not None
        ):  # perhaps nobody waits for it any more
            log.debug("what is evicted was not fetched", space=place[0], partition=place[1], reason=repr(error))

    def _following(self, document: DocumentId, many: int) -> list[bytes]:
        rows = self._generations.prefix(self._journal, document.collection, document.scope)
        prefix = keys.evicted_key(rows + scope_prefix(document.collection, document.scope))
        after = keys.evicted_key(rows + document_key(document))
        found = islice(self._journal.scan(Family.META, prefix, after), many)
        return [key[len(keys.EVICTED) :] for key, _ in found]

    async def _fetched(self, place: tuple[str, int], rows: list[bytes]) -> int:
        """How many of them are here now. First from where they were; what is not found there from wherever it is."""
        markers = {row: marker for row in rows if (marker := marker_of(self._journal, row)) is not None}
        come = await self._taken(place, markers, {row: marker.offset for row, marker in markers.items()})
        left = {row: marker for row, marker in markers.items() if row not in come}
        if left:
            come |= await self._taken(place, left, dict.fromkeys(left, ANYWHERE))
        return len(come)

    async def _taken(
        self, place: tuple[str, int], markers: Mapping[bytes, Marker], offsets: Mapping[bytes, int]
    ) -> set[bytes]:
        loop = asyncio.get_running_loop()
        end = cursor_of(self._journal, topics.state_topic(place[0]), place[1]).offset
        found = await loop.run_in_executor(self._thread, partial(self._read, place, markers, offsets, end))
        if not found:
            return set()
        await self._committer.room()
        async with self._committer.turn:
            writes = self._back({row: record for row, record in found.items() if self._stands(row, markers[row])})
            if not writes:
                return set()
            done = self._committer.stage(writes, sync=False)
            rows = {key for family, key in writes if family is Family.CONFIRMED}
            for row in rows:
                self._forget(keys.document_of_confirmed(row))
        await done
        self.fetched += len(rows)
        return rows

    def _read(
        self, place: tuple[str, int], markers: Mapping[bytes, Marker], offsets: Mapping[bytes, int], end: int
    ) -> dict[bytes, Record]:
        """Those records that are what was evicted. In a thread: a schema may have to be asked for."""
        by_key = {keys.document_of_confirmed(row): row for row in offsets}
        wanted = {key: offsets[row] for key, row in by_key.items()}
        found = self._route.records(topics.state_topic(place[0]), place[1], wanted, end, FETCH_SECONDS)
        try:
            return {
                by_key[key]: record
                for key, record in found.items()
                if row_digest(self._versions, key, record.value) == markers[by_key[key]].digest
            }
        except ContractError as error:  # the registry is away
            raise Unreachable(str(error)) from error

    def _stands(self, row: bytes, marker: Marker) -> bool:
        """Is it still what was to be fetched?"""
        now = marker_of(self._journal, row)
        return now is not None and now.digest == marker.digest

    def _back(self, found: Mapping[bytes, Record]) -> dict[Place, bytes | None]:
        writes: dict[Place, bytes | None] = {}
        counts: dict[tuple[str, int, int, str], int] = {}
        for row, record in found.items():
            assert record.value is not None, "a purge counts as nothing, so it is no row"
            writes.update(back(row, record.value, Trace(record.offset, self._clock.wall_ms())))
            scope = parse_document_key(keys.document_of_confirmed(row)).scope
            place = (*keys.parse_confirmed(row), scope)
            counts[place] = counts.get(place, 0) + 1
        for place, count in counts.items():
            writes.update(written(*place, digest_of(self._journal, *place).moved(-count)))
        return writes
