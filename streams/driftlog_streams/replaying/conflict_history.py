"""How the conflicts of a closed space stand and have ended: their last records, as they are, in the partitions that the successor has for their documents.

Of those that are over no state tells any more. Those that are open are told once more with their documents (`publication`), behind these. What a later record of a conflict
replaces stays behind, for compaction may remove it at any time, and each attempt has to write the same (`continuation`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.replaying.logs import Logs


def copy_conflicts(
    before: SpaceRules, after: SpaceRules, logs: Logs, deliver: Callable[[Sequence[OutRecord]], None]
) -> None:
    """One partition after the other. Raises what `deliver` raises, `BrokerUnreachable`."""
    topic = before.topics.conflicts
    for partition in range(before.partitions):
        last: dict[bytes, tuple[int, int | None]] = {}  # where it stands, and where it goes: a tombstone goes nowhere
        for block in logs.blocks(topic, partition):
            for record in block:
                place = None if record.value is None else _place(before, after, partition, record)
                if record.value is None or place is not None:
                    last[record.key] = record.offset, place
        with closing(logs.blocks(topic, partition)) as blocks:  # for a delivery may end it
            for block in blocks:
                there = []
                for record in block:
                    offset, place = last.get(record.key, (-1, None))
                    if offset == record.offset and place is not None:
                        there.append(OutRecord(after.topics.conflicts, place, record.key, record.value))
                deliver(there)


def _place(before: SpaceRules, after: SpaceRules, partition: int, record: ChangelogRecord) -> int | None:
    """Where the record goes; None for one that is nobody's, for anybody's tool may write to a topic."""
    try:
        conflict = before.records.decode_conflict(record.value or b"")
    except (Undecodable, UnknownSchema, ValueError):
        return None
    scope = conflict.document.scope
    if conflict.id.encode() != record.key or partition_of(scope, before.partitions) != partition:
        return None
    return partition_of(scope, after.partitions)
