"""The digests of scopes while groups of states are applied: what the rows come to, and what the cloud says that they should.

The newest record of a scope says what the scope is after its group. A record of an older group than the scope has met is a late one (of a worker that
had frozen): what it says is outdated, and if it changed something here, what was told before is outdated too. Nothing is told then until the next group.

A row counts by its version, also one that this release cannot read, and one that is evicted; where both families have one, the unread one is the newer.
"""

from __future__ import annotations

from driftlog_edge.incoming.rows import Rows
from driftlog_edge.ports import Place, Record
from driftlog_edge.store import digests
from driftlog_edge.store.digests import ScopeDigest, digest_of, row_digest
from driftlog_edge.store.journal import Journal
from driftlog_schemas import groups
from driftlog_schemas.digests import Versions


class Tally:
    """Of one write set, in one generation of a partition's rows."""

    def __init__(
        self, versions: Versions, journal: Journal, rows: Rows, space: str, partition: int, generation: int
    ) -> None:
        self._versions = versions
        self._journal = journal
        self._held = rows
        self._place = (space, partition, generation)
        self._rows: dict[bytes, tuple[bytes | int | None, bool]] = {}
        """What each document that was met has now: a row, or the digest of one that is evicted; and whether it is."""
        self._counts: dict[tuple[bytes, bytes], int] = {}
        """What rows (key, value) add, where somebody has told it or asked for it."""
        self._scopes: dict[str, ScopeDigest] = {}

    def tell(self, key: bytes, value: bytes, count: int) -> None:
        """Whoever has read a row knows what it adds: it is not to be read once more for that."""
        self._counts[key, value] = count

    def before(self, key: bytes, row: bytes) -> None:
        """A record of a document is about to be applied."""
        if key not in self._rows:
            self._rows[key] = self._of(row)

    def after(self, record: Record, row: bytes, scope: str) -> None:
        """It was applied."""
        key = record.key
        before, was_evicted = self._rows[key]
        now, is_evicted = self._rows[key] = self._of(row)
        change = 0 if now is before else self._count(key, before) ^ self._count(key, now)
        own, number, told, evicted, moves = self._scopes.get(scope) or digest_of(self._journal, *self._place, scope)
        mark = groups.parse(record.headers)
        if mark.number >= number:
            number, told = mark.number, mark.digest
        elif change:
            told = None
        evicted = max(0, evicted + is_evicted - was_evicted)
        self._scopes[scope] = ScopeDigest(own ^ change, number, told, evicted, moves)

    def writes(self) -> dict[Place, bytes | None]:
        """What keeps the digests."""
        kept: dict[Place, bytes | None] = {}
        for scope, digest in self._scopes.items():
            kept.update(digests.written(*self._place, scope, digest))
        return kept

    def _count(self, key: bytes, row: bytes | int | None) -> int:
        if row is None or isinstance(row, int):
            return row or 0
        found = self._counts.get((key, row))
        if found is None:
            found = self._counts[key, row] = row_digest(self._versions, key, row)
        return found

    def _of(self, row: bytes) -> tuple[bytes | int | None, bool]:
        marker, rows = self._held.marker(row), self._held
        for raw in (rows.unread(row), rows.confirmed(row)):
            if raw is not None:
                return raw, marker is not None
        return (None, False) if marker is None else (marker.digest, True)
