"""Which documents make room, and the writes by which they do.

Only what the cloud has exactly as it is here goes: nothing on which commands wait, are to run again, are under review or parked, and nothing that is in
a conflict. Of what is left those collections go first that are declared so (`evict`), among them what was used longest ago: first what nobody has used for
as long as the collection says (`evict_after`). A deletion is kept: it says offline that nothing is there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from driftlog_crdt import AlgebraError
from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.digests import digest_of, row_digest, written
from driftlog_edge.store.evicted import Marker, evicted, trace_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_edge.store.pending import marks_of
from driftlog_edge.store.uses import Uses
from driftlog_schemas.contract import EVICTED_NEVER, EVICTION_ORDER, AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.state_codec import StateCodec

LOOKED_AT_ONCE = 100
"""Rows that are looked at without letting others run."""
MOST_CHOSEN = 20_000
"""Documents of one choice; where that is not enough, there is another."""


class Chosen(NamedTuple):
    """A row that may go; the smaller go first."""

    rank: tuple[int, bool, int]
    """Of its collection; is it young; when it was used last."""
    row: bytes
    size: int


class _Last(NamedTuple):
    """A choice as a heap wants it that gives the last first."""

    rank: tuple[int, int, int]
    chosen: Chosen


class Eviction:
    """Of one replica. `disputed` says whether a document is in an open conflict."""

    def __init__(
        self,
        contract: AppContract,
        codecs: Mapping[str, StateCodec],
        versions: Versions,
        journal: Journal,
        uses: Uses,
        disputed: Callable[[DocumentId], bool],
        clock: Clock,
    ) -> None:
        self._collections = {name: one for s in contract.spaces.values() for name, one in s.collections.items()}
        self._codecs = codecs
        self._versions = versions
        self._journal = journal
        self._uses = uses
        self._disputed = disputed
        self._clock = clock

    def choose(self, need: int) -> Generator[None, None, list[Chosen]]:
        """Rows that together take `need` bytes, those first that go first; fewer where there are no more. It stops after every few rows."""
        heap: list[_Last] = []
        total, after, wanted = 0, b"", self._wanted()
        while rows := list(islice(self._journal.scan(Family.CONFIRMED, b"", after), LOOKED_AT_ONCE)):
            after = rows[-1][0]
            for row, value in rows:
                found = self._candidate(row, len(row) + len(value))
                if found is None:
                    continue
                last = _Last((-found.rank[0], -found.rank[1], -found.rank[2]), found)
                if (total >= need and last < heap[0]) or not self._free(keys.document_of_confirmed(row), wanted):
                    continue
                heapq.heappush(heap, last)
                total += found.size
                while len(heap) > MOST_CHOSEN or total - heap[0].chosen.size >= need:
                    total -= heapq.heappop(heap).chosen.size
            yield
        return sorted(last.chosen for last in heap)

    def evict(self, rows: Iterable[bytes]) -> dict[Place, bytes | None]:
        """The writes by which those of them go that still may; stage them at once, in the turn of what comes in. Raises `RegistryUnreachable`."""
        writes: dict[Place, bytes | None] = {}
        wanted = self._wanted()
        counts: dict[tuple[str, int, int, str], int] = {}
        for row in rows:
            key, value = keys.document_of_confirmed(row), self._journal.get(Family.CONFIRMED, row)
            if value is None or self._journal.get(Family.UNREAD, row) is not None or not self._free(key, wanted):
                continue
            digest = row_digest(self._versions, key, value)
            if not digest:  # a deletion, or what this release cannot tell the version of
                continue
            document = parse_document_key(key)
            try:
                vector = self._codecs[document.collection].decode(value).vector
            except (ContractError, AlgebraError):  # of a newer release: it is shown to nobody, and kept as it is
                continue
            writes.update(evicted(row, Marker(trace_of(self._journal, row).offset, digest, vector)))
            place = (*keys.parse_confirmed(row), document.scope)
            counts[place] = counts.get(place, 0) + 1
        for place, count in counts.items():
            writes.update(written(*place, digest_of(self._journal, *place).moved(count)))
        return writes

    def _candidate(self, row: bytes, size: int) -> Chosen | None:
        document = parse_document_key(keys.document_of_confirmed(row))
        collection = self._collections.get(document.collection)
        if collection is None or collection.evict == EVICTED_NEVER or collection.direction == "up":
            return None
        used = self._uses.last(document, trace_of(self._journal, row))
        age = (self._clock.wall_ms() - used) / 1000
        young = collection.evict_after is None or age < collection.evict_after
        return Chosen((EVICTION_ORDER.index(collection.evict), young, used), row, size)

    def _free(self, key: bytes, wanted: Collection[bytes]) -> bool:
        """Is nothing to become of it that rests on what is here?"""
        if key in wanted or next(marks_of(self._journal, key), None) is not None:
            return False
        return not self._disputed(parse_document_key(key))

    def _wanted(self) -> Collection[bytes]:
        """The documents of commands that are to run again, wait for a person, or were left parked by an earlier life."""
        found: set[bytes] = set()
        for prefix in (keys.AGAIN, keys.REVIEWS, keys.LEFT):
            for key, _ in self._journal.scan(Family.META, prefix):
                if self._journal.get(Family.OPLOG, keys.lsn_key(keys.parse_lsn(key))) is not None:
                    found |= changed_keys(logged(self._journal, keys.parse_lsn(key)).command)
        return found
