"""One partition's documents and chain rows, made anew from its op log by the merge core alone: no Faust, no group, nothing published.

What the workers made of the same records is the same, byte for byte, as long as the same rules were in force: the merge depends on the log, and on
how little of it at once it was done does not. Where it is otherwise, somebody has lost or written something, or the app has changed since.

The store is a cache like a worker's, in a folder that is thrown away, so what is held in memory does not grow with the partition.
"""

from __future__ import annotations

from driftlog_streams.core.admission import admit
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.merge import PartitionMerger, Told, untold
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.state_cache import CacheRoom, StateCache
from driftlog_streams.faust_driver.partition_store import PartitionStore

SEAL_RECORDS, SEAL_BYTES = 500, 8 << 20
"""So many records are merged, or so many bytes changed, before the store takes what has gathered."""


class Rebuild:
    """Of one partition. Give it every record of the op log from its first one on, then `end` it."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        store: PartitionStore,
        devices: Devices,
        told: Told = untold,
        cache_bytes: int = 64 << 20,
    ) -> None:
        self._rules, self._partition, self._store, self._devices = rules, partition, store, devices
        cache = StateCache(store.get, CacheRoom(cache_bytes), store.purged)
        self._merger = PartitionMerger(rules, partition, cache, ChainBook(store.row, rules.records), told=told)
        self.records = self.ops = 0

    def take(self, record: ChangelogRecord) -> None:
        """The next record of the op log."""
        admission = admit(record.value, record.append_ms, self._partition, self._rules, self._devices)
        self._merger.merge(admission, record.offset, record.append_ms)
        self.records += 1
        work = self._merger.work
        if len(work.merged) >= SEAL_RECORDS or work.size >= SEAL_BYTES:
            self._seal()

    def end(self) -> list[Arrival]:
        """Everything is in the store now. Which commands still wait for a change that has not come."""
        while not self._merger.work.empty:
            self._seal()
        return self._merger.parking.waiting()

    def _seal(self) -> None:
        part = self._merger.seal()
        self.ops += part.work.ops
        self._store.write(part.writes, self._store.mark, part.rows, part.passed)
        part.work.stored()
        self._merger.committed = self._merger.merged_to + 1
