"""How the conflicts of a closed space stand and have ended: their records, as they are, in the partitions that the successor has for their documents.

Of those that are over no state tells any more. Those that are open are told once more with their documents (`publication`), behind these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.replaying.logs import Logs


def copy_conflicts(
    before: SpaceRules, after: SpaceRules, logs: Logs, deliver: Callable[[Sequence[OutRecord]], None]
) -> None:
    """All records, one partition after the other. Raises what `deliver` raises, `BrokerUnreachable`."""
    for partition in range(before.partitions):
        places: dict[bytes, int] = {}  # a tombstone does not say of whose conflict it is
        for block in logs.blocks(before.topics.conflicts, partition):
            there = []
            for record in block:
                place = _place(before, after, partition, record) if record.value is not None else places.get(record.key)
                if place is not None:
                    places[record.key] = place
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
