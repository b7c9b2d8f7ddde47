"""The merger of a partition that was just recovered, with all that an earlier life has left to do."""

from __future__ import annotations

from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.net import passing_over
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import CacheRoom, StateCache
from driftlog_streams.core.trial import Watch
from driftlog_streams.faust_driver.partition_store import PartitionStore


def taken_over(
    rules: SpaceRules,
    partition: int,
    store: PartitionStore,
    room: CacheRoom,
    found: Recovered,
    devices: Devices,
    watch: Watch,
) -> PartitionMerger:
    """Ready for the partition's next record: who waits is back, and what is behind ours in the topics goes out again."""
    cache = StateCache(store.get, room, store.purged)
    merger = PartitionMerger(
        rules,
        partition,
        cache,
        ChainBook(store.row, rules.records),
        watch=watch,
        digests=ScopeDigests(store.digest, store.keys),
        disputes=Disputes(store.dispute, store.ended),
    )
    merger.committed, merger.answers.late = found.committed, found.late
    for parked in found.parked:
        passing_over(merger.restore, parked, devices)
    merger.resume(found.committed)
    for key in found.spoiled:
        passing_over(merger.answers.heard_parked, key, b"")
    for key in sorted(found.stale):
        passing_over(merger.publish_again, key)
    for replica in sorted(found.stale_rows):
        passing_over(merger.publish_row_again, replica)
    for key, (_, value) in sorted(found.stale_conflicts.items()):
        passing_over(merger.answers.heard_conflict, key, value)
    for _, key, place in found.owed.values():
        merger.tell_again(key, place)
    return merger
