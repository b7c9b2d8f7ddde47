"""Does what is here agree with the cloud? An empty queue is not proof: the digests of every scope are compared.

Compared is where a partition was read to its end: then each scope's own digest must be what the newest record of the scope says that it is. What
differs for a while only (a worker that had frozen wrote late, and its owner answers within seconds) is let pass; while nothing is read (no network, a
full disk), nobody knows whether it is for a while. What stands is a mismatch: it is counted, told, and healed by reading the partition again into fresh rows (`returning`). Not more often than every `APART_MS`, which a restart does not shorten:
where reading again does not help, people must look, and a loop would only hide it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.returning import Returns
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.digests import ScopeDigest, digest_of
from driftlog_edge.store.generations import serving
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.digests import text_of

log = structlog.get_logger()

GRACE_SECONDS = 15.0
"""So long a difference must stand to be one: owners look every two seconds for what is not theirs."""
APART_MS = 3_600_000
"""A partition is read again for this not more often than that."""
MOST_NAMED = 8

Where: TypeAlias = tuple[str, int]
"""(space, partition)"""


@dataclass(slots=True)
class _Difference:
    since: float
    counted: bool = False


class Agreement:
    """The comparisons of one replica. Times are monotonic seconds."""

    def __init__(self, journal: Journal, returns: Returns, scopes: Collection[str]) -> None:
        self._journal = journal
        self._returns = returns
        self._scopes = scopes
        self._touched: dict[Where, set[str]] = {}
        """What has changed since it was compared, of the partitions that were compared once."""
        self._differ: dict[tuple[str, int, str], _Difference] = {}
        self._followed: set[Where] = set()
        """What was read to its end since reading began, and is read on."""
        self.mismatches = 0
        """Scopes that were found to differ, since the agent started."""

    def pulled(self, pulled: Pulled) -> None:
        """Digests have changed."""
        for family, key in pulled.writes:
            if family is not Family.META:
                continue
            if key.startswith(keys.GENERATIONS):
                self._touched.pop(keys.parse_place(key, keys.GENERATIONS), None)
            elif key.startswith(keys.DIGESTS):
                self.touched(*keys.parse_digest(key))

    def touched(self, space: str, partition: int, generation: int, scope: str) -> None:
        """The digest of a scope has changed."""
        if (space, partition) in self._touched and generation == serving(self._journal, space, partition):
            self._touched[space, partition].add(scope)

    def in_step(self, space: str, partition: int, now: float) -> None:
        """The partition was read to its end: compare."""
        self._followed.add((space, partition))
        self._compare(space, partition, now)

    def stopped(self) -> None:
        """Nothing is read from now on; where reading begins again it comes to the end first."""
        self._followed.clear()

    def _compare(self, space: str, partition: int, now: float) -> None:
        if self._returns.of(space, partition) is not None:
            return
        generation = serving(self._journal, space, partition)
        known = self._touched.get((space, partition))
        scopes = self._all(space, partition, generation) if known is None else known
        self._touched[space, partition] = set()
        for scope in scopes:
            digest = digest_of(self._journal, space, partition, generation, scope)
            if scope in self._scopes and digest.differs:
                self._differ.setdefault((space, partition, scope), _Difference(now))
            else:
                self._differ.pop((space, partition, scope), None)

    def _all(self, space: str, partition: int, generation: int) -> list[str]:
        found = self._journal.scan(Family.META, keys.digest_prefix(space, partition, generation))
        return [keys.parse_digest(key)[3] for key, _ in found]

    def looked_at(self, space: str, partition: int, now: float) -> None:
        """Digests were found wrong and are right now: compare, unless the partition is still to be read to its end."""
        if (space, partition) in self._touched:
            self._compare(space, partition, now)

    def due(self, now: float, wall_ms: int) -> bool:
        """Is there something to count or to heal?"""
        return any(
            self._stands(space, partition, known, now)
            and (not known.counted or self._may_heal(space, partition, wall_ms))
            for (space, partition, _), known in self._differ.items()
        )

    def _stands(self, space: str, partition: int, difference: _Difference, now: float) -> bool:
        return (space, partition) in self._followed and now - difference.since >= GRACE_SECONDS

    def heal(self, now: float, wall_ms: int) -> dict[Place, bytes | None]:
        """Count what has stood long enough; the writes with which partitions begin to be read again for it."""
        stands: dict[Where, list[str]] = {}
        for (space, partition, scope), difference in list(self._differ.items()):
            if scope not in self._scopes:
                del self._differ[space, partition, scope]
            elif self._stands(space, partition, difference, now):
                stands.setdefault((space, partition), []).append(scope)
                self._count(space, partition, scope, difference)
        writes: dict[Place, bytes | None] = {}
        for (space, partition), scopes in stands.items():
            if self._may_heal(space, partition, wall_ms):
                writes.update(self._read_again(space, partition, scopes, wall_ms))
        return writes

    def _count(self, space: str, partition: int, scope: str, difference: _Difference) -> None:
        if difference.counted:
            return
        difference.counted = True
        self.mismatches += 1
        digest = digest_of(self._journal, space, partition, serving(self._journal, space, partition), scope)
        told = "nothing" if digest.told is None else text_of(digest.told)
        log.error(
            "a scope differs from the cloud's",
            space=space,
            partition=partition,
            scope=scope,
            here=text_of(digest.own),
            cloud=told,
        )

    def _may_heal(self, space: str, partition: int, wall_ms: int) -> bool:
        if self._returns.of(space, partition) is not None:
            return False
        last = self._journal.get(Family.META, keys.healed_key(space, partition))
        return last is None or not 0 <= wall_ms - keys.unpack_number(last) < APART_MS  # or the clock was set back

    def _read_again(self, space: str, partition: int, scopes: list[str], wall_ms: int) -> dict[Place, bytes | None]:
        topic_id = cursor_of(self._journal, topics.state_topic(space), partition).topic_id
        why = f"scope {', '.join(sorted(scopes)[:MOST_NAMED])} differs from the cloud's"
        writes = self._returns.begin(space, partition, topic_id, why, wall_ms, anew=False)
        writes[Family.META, keys.healed_key(space, partition)] = keys.pack_number(wall_ms)
        for scope in scopes:
            self._differ.pop((space, partition, scope), None)
        self._touched.pop((space, partition), None)
        return writes

    @property
    def differing(self) -> list[str]:
        """What differs now and has been counted, as `space/partition/scope`; some of them."""
        found = sorted(f"{s}/{p}/{scope}" for (s, p, scope), known in self._differ.items() if known.counted)
        return found[:MOST_NAMED]

    @property
    def problem(self) -> str:
        """In words; empty when nothing differs."""
        if not (found := self.differing):
            return ""
        every = APART_MS // 60_000
        return f"{', '.join(found)} differs from the cloud's though it was read again; it is read again every {every} minutes at most"

    def of(self, space: str, partition: int, scope: str) -> ScopeDigest:
        """What is known of a scope, of the rows that readers have."""
        return digest_of(self._journal, space, partition, serving(self._journal, space, partition), scope)
