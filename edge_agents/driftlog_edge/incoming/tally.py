"""The digests of scopes while groups of states are applied: what the rows come to, and what the cloud says that they should.

The newest record of a scope says what the scope is after its group. A record of an older group than the scope has met is a late one (of a worker that
had frozen): what it says is outdated, and if it changed something here, what was told before is outdated too. Nothing is told then until the next group.

A row counts by its version, also one that this release cannot read, and one that is evicted; where both families have one, the unread one is the newer.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import digests
from driftlog_edge.store.digests import ScopeDigest, digest_of, row_digest
from driftlog_edge.store.evicted import marker_of
from driftlog_edge.store.journal import Journal
from driftlog_schemas import groups
from driftlog_schemas.digests import Versions


class Tally:
    """Of one write set, in one generation of a partition's rows."""

    def __init__(self, versions: Versions, journal: Journal, space: str, partition: int, generation: int) -> None:
        self._versions = versions
        self._journal = journal
        self._place = (space, partition, generation)
        self._rows: dict[bytes, tuple[int, bool]] = {}
        """What each document that was met adds now, and whether it is evicted."""
        self._scopes: dict[str, ScopeDigest] = {}

    def before(self, key: bytes, row: bytes) -> None:
        """A record of a document is about to be applied."""
        if key not in self._rows:
            self._rows[key] = self._of(key, row, {})

    def after(self, record: Record, row: bytes, scope: str, writes: Mapping[Place, bytes | None]) -> None:
        """It was applied, by these writes."""
        before, was_evicted = self._rows[record.key]
        now, is_evicted = self._rows[record.key] = self._of(record.key, row, writes)
        own, number, told, evicted, moves = self._scopes.get(scope) or digest_of(self._journal, *self._place, scope)
        mark = groups.parse(record.headers)
        if mark.number >= number:
            number, told = mark.number, mark.digest
        elif now != before:
            told = None
        evicted = max(0, evicted + is_evicted - was_evicted)
        self._scopes[scope] = ScopeDigest(own ^ before ^ now, number, told, evicted, moves)

    def writes(self) -> dict[Place, bytes | None]:
        """What keeps the digests."""
        kept: dict[Place, bytes | None] = {}
        for scope, digest in self._scopes.items():
            kept.update(digests.written(*self._place, scope, digest))
        return kept

    def _of(self, key: bytes, row: bytes, writes: Mapping[Place, bytes | None]) -> tuple[int, bool]:
        marker = marker_of(self._journal, row, writes)
        for place in ((Family.UNREAD, row), (Family.CONFIRMED, row)):
            raw = writes[place] if place in writes else self._journal.get(*place)
            if raw is not None:
                return row_digest(self._versions, key, raw), marker is not None
        return (0, False) if marker is None else (marker.digest, True)
