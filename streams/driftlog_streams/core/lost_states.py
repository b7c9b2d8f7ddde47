"""Was something merged into a state topic that is empty now?

An empty topic by itself says nothing: batches that were refused leave no state, nor do commands that wait. So a record of the op topic is looked
for that had an effect: its row tells that its commands were plainly accepted, it is committed, so its states had been delivered, and it
changes documents. The rows are not enough: a device may send commands that change nothing, and must not stop a worker by that.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import ChainRow
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules

WITNESSES = 16
"""So many replicas are asked at most; one that tells is enough."""


def merged_before(committed: int, rows: Iterable[ChainRow]) -> list[int]:
    """Offsets of op records that were accepted as they stand, and are committed: of each replica the newest."""
    return list(islice((offset for row in rows if (offset := _newest(committed, row)) >= 0), WITNESSES))


def _newest(committed: int, row: ChainRow) -> int:
    return max((entry.offset for entry in row.entries if not entry.outcomes and entry.offset < committed), default=-1)


def has_effect(record: ChangelogRecord, rules: SpaceRules) -> bool:
    """Does it change a document? What this release cannot read says nothing."""
    if record.value is None:
        return False
    try:
        batch = decode_body(rules.batches.open(record.value).body)
    except (Undecodable, UnknownSchema, RegistryUnreachable):  # whoever merges it says so
        return False
    return any(command.ops for command in batch.commands)
