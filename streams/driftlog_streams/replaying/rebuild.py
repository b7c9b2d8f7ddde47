"""One partition's documents and chain rows, made anew from its op log by the merge core alone: no Faust, no group, nothing published.

What the workers made of the same records is the same, byte for byte, as long as the same rules were in force: the merge depends on the log, and on
how little of it at once it was done does not. Where it is otherwise, somebody has lost or written something, or the app has changed since.

The store is a cache like a worker's, so what is held in memory does not grow with the partition. Its mark says up to which op record everything is
in it; who keeps what waits besides (`sealed` is told) can go on from there in another life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from driftlog_crdt import DocumentState
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ChainRow, ParkedCommand
from driftlog_streams.core.admission import Admission, admit
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.command_merge import Told, untold
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import CacheRoom, StateCache, Unreadable
from driftlog_streams.faust_driver.partition_store import PartitionStore

SEAL_RECORDS, SEAL_BYTES = 500, 8 << 20
"""So many records are merged, or so many bytes changed, before the store takes what has gathered."""
FORGET_RECORDS = 100_000
"""So far the partition has forgotten before what that is about leaves the store: to look costs as much as there is."""


class Rebuild:
    """Of one partition. Give it every record of the op log from its first one on, then `end` it.

    `sealed` is told of what has gathered before the store takes it.
    """

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        store: PartitionStore,
        devices: Devices,
        told: Told = untold,
        cache_bytes: int = 64 << 20,
        sealed: Callable[[PartitionFlight], None] = lambda part: None,
    ) -> None:
        self._rules, self._partition, self._store, self._devices = rules, partition, store, devices
        self._sealed = sealed
        self._cache = StateCache(store.get, CacheRoom(cache_bytes), store.purged)
        self._book = ChainBook(store.row, rules.records)
        self._merger = PartitionMerger(
            rules,
            partition,
            self._cache,
            self._book,
            told=told,
            digests=ScopeDigests(store.digest, store.keys),
            disputes=Disputes(store.dispute, store.ended),
        )
        self._floor = 0
        """Below it all is forgotten."""
        self.records = self.ops = 0

    @property
    def following(self) -> int:
        """Offset of the op record that comes next after what the store has."""
        return self._store.mark.group + 1

    @property
    def merged_to(self) -> int:
        """Offset of the last op record that is merged, be it not in the store yet."""
        return self._merger.merged_to

    def resume(self, parked: Iterable[ParkedCommand]) -> None:
        """Go on where an earlier life has left the store, with what waited then. Raises `Undecodable`."""
        for one in parked:
            self._merger.restore(one, self._devices)
        self._merger.resume(self.following)

    def state(self, document: DocumentId) -> DocumentState:
        """A document as it is merged now. Raises `Unreadable`."""
        return self._cache.get(document, self._rules.collections[document.collection]).state

    def known(self, document: DocumentId) -> Mapping[str, int]:
        """Replica -> the last of its changes that is merged into a document. Nothing where this release cannot read its state."""
        try:
            return self.state(document).vector if document.collection in self._rules.collections else {}
        except Unreadable:
            return {}

    def row(self, replica: str) -> ChainRow | None:
        """A chain row as it is now."""
        return self._book.get(replica)

    def admit(self, record: ChangelogRecord) -> Admission:
        """May its writer write this?"""
        return admit(record.value, record.append_ms, self._partition, self._rules, self._devices)

    def take(self, record: ChangelogRecord) -> None:
        """The next record of the op log."""
        self.merge(self.admit(record), record)

    def merge(self, admission: Admission, record: ChangelogRecord) -> None:
        """The same, admitted already."""
        work = self._merger.work
        full = len(work.merged) >= SEAL_RECORDS or work.size >= SEAL_BYTES
        if full or self._merger.crowded(admission, record.offset):
            self._seal()  # before the record, so that whoever is told of each has taken all that is sealed
        self._merger.merge(admission, record.offset, record.append_ms)
        self.records += 1

    def end(self) -> list[Arrival]:
        """Everything is in the store now. Which commands still wait for a change that has not come."""
        while not self._merger.work.empty:
            self._seal()
        return self._merger.parking.waiting()

    def _seal(self) -> None:
        part = self._merger.seal()
        self.ops += part.work.ops
        self._sealed(part)
        mark = self._store.mark._replace(group=self._merger.merged_to)
        # Here nobody looks for what to purge or to settle: the log says it.
        passed = replace(part.passed, dead={}, due={})
        self._store.write(part.writes, mark, part.rows, passed, part.digested.scopes)
        part.work.stored()
        self._merger.committed = self._merger.merged_to + 1
        self._forget()

    def _forget(self) -> None:
        """What the partition has forgotten leaves the store, as that of a worker: else it would grow with the log."""
        row = self._merger.forgotten
        floor = row.forgot[-1].floor if row is not None and row.forgot else 0
        if floor - self._floor >= FORGET_RECORDS:
            self._store.forget_gone(floor)
            self._store.forget_ended(floor)
            self._floor = floor
