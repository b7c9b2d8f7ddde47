"""How an agent is: for `/v1/status`, for Prometheus, and for the fleet as a heartbeat. Counted, never searched for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import cache, reduce
from itertools import islice
from operator import xor
from typing import Any

from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.asking.for_people import MOST_COUNTED, for_people
from driftlog_edge.asking.waiting import Waiting
from driftlog_edge.link.sync import Sync
from driftlog_edge.outgoing.flow import Flow
from driftlog_edge.outgoing.forecast import Forecast
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock, Family
from driftlog_edge.store import keys
from driftlog_edge.store.digests import ScopeDigest, digest_of
from driftlog_edge.store.generations import serving
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.rotation import Rotation
from driftlog_edge.store.views import Views
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import text_of
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.identity import device_of, parse_document_key
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity


class Vitals:
    """The signs of life of one agent."""

    def __init__(
        self,
        contract: AppContract,
        lives: Lives,
        scopes: Collection[str],
        versions: Mapping[str, str],
        store: RocksStore,
        rotation: Rotation,
        journal: Journal,
        views: Views,
        outbox: Outbox,
        waiting: Waiting,
        flow: Flow,
        conflicts: ConflictBook,
        clock: Clock,
        disk: Callable[[], dict[str, Any]],
    ) -> None:
        self._contract = contract
        self._lives = lives
        self._scopes = scopes
        self._versions = versions
        self._store = store
        self._rotation = rotation
        self._journal = journal
        self._views = views
        self._outbox = outbox
        self._waiting = waiting
        self._flow = flow
        self._conflicts = conflicts
        self._clock = clock
        self._disk = disk
        self._oldest = (0, 0)
        self._forecast = Forecast(
            outbox.load, lambda: keys.unpack_pair(journal.get(Family.META, keys.CLOCK))[1], lambda: flow.pace
        )

    def look(self) -> None:
        """What a forecast is made of; to be called every minute or so."""
        self._forecast.look(self._clock.monotonic())

    def status(self, sync: Sync) -> dict[str, Any]:
        """What `/v1/status` says."""
        since = self._oldest_ms()
        return {
            "device_id": device_of(self._lives.replica),
            "replica": self._lives.replica,
            "lives": [asdict(life) for life in self._lives.all()],
            "connection": sync.signal.state.value,
            "offline_by_choice": sync.signal.connectivity.forced,
            "registered": sync.registry.facts(sync.broker_ms()),
            "problem": self._store.refusal or sync.problem,
            "pending": len(self._views.backlog),
            "unsent": len(self._outbox.queue),
            "dropped": self._outbox.dropped,
            "waiting": [
                {"for": why.what, "until": why.until_ms, "commands": commands} for why, commands in self._waiting.all()
            ],
            "oldest_pending_seconds": max(0.0, (self._clock.wall_ms() - since) / 1000) if since else 0.0,
            "forecast": self._forecast.outlook(self._clock.monotonic())._asdict(),
            "unresolved_conflicts": len(self._conflicts),
            "unreadable_records": sync.unreadable,
            "read_again": sync.read_again,
            "catching_up": sync.catching_up.facts(),
            "generations": sync.generations(),
            "snapshot": sync.horizon.facts(),
            "support": sync.support.facts(),
            "mismatches": sync.proof.agreement.mismatches,
            "differing": sync.proof.agreement.differing,
            "scopes": self._all_scopes(sync),
            "disk_bytes": self._store.disk_bytes(),
            "disk": self._disk(),
            "damaged": "" if self._store.damage is None else str(self._store.damage),
            "encryption": self._rotation.facts(),
            "link": {
                "bytes_per_second": self._flow.measured,
                "limit": self._flow.bucket.per_second,
                "batch_bytes": self._flow.batch_bytes,
            },
            "power": sync.power.facts(),
            "clock_skew_ms": sync.replies.skew_ms,
            "versions": dict(self._versions),
        }

    def unready(self, sync: Sync) -> str:
        """What this replica cannot do yet or any more: take writes, answer from all that it holds. Empty when it can."""
        if refusal := self._store.refusal or self._journal.refusal:
            return f"the store takes no writes: {refusal}"
        unread = [f"{t}[{p}]" for t, p in sync.places.states if sync.freshness.since((t, p)) is None]
        return f"not read to the end yet: {', '.join(unread)}" if unread else ""

    def heartbeat(self, sync: Sync) -> Heartbeat:
        """The same for the fleet, in small."""
        life, waiting = self._lives.newest, for_people(self._journal)
        return Heartbeat(
            device_id=device_of(self._lives.replica),
            replica=self._lives.replica,
            sent_ms=self._clock.wall_ms(),
            connection=sync.signal.state.value,
            pending=len(self._views.backlog),
            oldest_pending_ms=self._oldest_ms(),
            disk_bytes=self._store.disk_bytes(),
            clock_skew_ms=sync.replies.skew_ms,
            versions=self._versions,
            heads=self._lives.heads(),
            applied=sync.places.applied(),
            mismatches=sync.proof.agreement.mismatches,
            differing=tuple(sync.proof.agreement.differing),
            why=life.why,
            rebased=life.rebased,
            review=waiting.review,
            rejected=waiting.rejected,
            waiting=waiting.told,
        )

    def farewell(self, identity: Identity, version: int) -> Farewell:
        """The last of it, when a line of the registry of this version had the replica erased."""
        lost, now_ms = len(self._views.backlog), self._clock.wall_ms()
        return Farewell(identity.device_id, identity.key_id, version, self._lives.replica, lost, now_ms).signed(
            identity
        )

    def _oldest_ms(self) -> int:
        """Since when the oldest pending command waits, by the device's clock; 0 when nothing does."""
        lsn = self._views.backlog.oldest
        if lsn is None:
            return 0
        if self._oldest[0] != lsn:
            self._oldest = (lsn, self._views.command(lsn).hlc >> 16)
        return self._oldest[1]

    def _all_scopes(self, sync: Sync) -> dict[str, dict[str, Any]]:
        unread = cache(self._not_readable)  # of a partition it is counted once, however many of its scopes are held
        return {scope: self._scope(scope, sync, unread) for scope in self._scopes}

    def _scope(self, scope: str, sync: Sync, not_readable: Callable[[bytes], Mapping[str, int]]) -> dict[str, Any]:
        digests: list[ScopeDigest] = []
        unread, moments, places = 0, [], {}
        for space in self._contract.spaces.values():
            partition = partition_of(scope, space.partitions)
            generation = serving(self._journal, space.name, partition)
            digest = digest_of(self._journal, space.name, partition, generation, scope)
            digests.append(digest)
            unread += not_readable(keys.confirmed_prefix(space.name, partition, generation)).get(scope, 0)
            place = (topics.state_topic(space.name), partition)
            cursor = sync.places.cursor(*place)
            places[f"{space.name}/{partition}"] = {
                "digest": text_of(digest.own),
                "cloud": None if digest.told is None else text_of(digest.told),
                "offset": cursor.offset,
                "topic_id": cursor.topic_id,
            }
            moments.append(sync.freshness.since(place))
        known = [moment for moment in moments if moment is not None]
        oldest = min(known, key=lambda m: m.at) if known and len(known) == len(moments) else None
        return {
            "synced_at": None if oldest is None else oldest.wall_ms,
            "age_seconds": sync.freshness.age(oldest),
            "digest": text_of(reduce(xor, (digest.own for digest in digests), 0)),
            "digests": places,
            "differs": any(digest.differs for digest in digests),
            "not_readable": unread,
            "evicted": sum(digest.evicted for digest in digests),
        }

    def _not_readable(self, rows: bytes) -> Mapping[str, int]:
        """How many documents of each scope of a partition are of a newer release; counted up to a bound, for there should be none."""
        found = islice(self._journal.scan_keys(Family.UNREAD, rows), MOST_COUNTED)
        return Counter(parse_document_key(keys.document_of_confirmed(key)).scope for key in found)
