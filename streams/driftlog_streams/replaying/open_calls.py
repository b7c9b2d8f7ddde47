"""Which calls of reactions had failed and may be sent again: what no replay can tell, for the app that failed then is not the one of today.

So a new generation takes it from the row of the one that runs, as that was at the op record where the new one ends. Compaction leaves the rows of the last
minutes alone, so that version of it is there although a newer one may have been written since.
"""

from __future__ import annotations

from dataclasses import replace

from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOUD, REACTION_REPLICA
from driftlog_schemas.messages import ChainRow
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.logs import Logs


def take_over(rules: SpaceRules, logs: Logs, partition: int, rebuilt: PartitionStore) -> None:
    """Let the rebuilt row of reactions name the open calls that the row of the generation of `rules` does. Raises `BrokerUnreachable`."""
    if not rules.space.reactions and rebuilt.row(REACTION_REPLICA) is None:
        return  # nothing ever called, so nothing is open
    known = _row_at(rules, logs, partition, rebuilt.mark.group)
    if known is None:
        return
    made = rebuilt.row(REACTION_REPLICA)
    row = (
        ChainRow(CLOUD, REACTION_REPLICA, rules.name, partition, 0, b"", 1, (), offset=known.offset)
        if made is None
        else rules.records.decode_chain_row(made)
    )
    failed = row.reactions._replace(open=known.reactions.open, unlisted=known.reactions.unlisted)
    if row.reactions != failed:
        row = replace(row, reactions=failed)
        rebuilt.write((), rebuilt.mark, [(REACTION_REPLICA, rules.records.encode_chain_row(row))])


def _row_at(rules: SpaceRules, logs: Logs, partition: int, group: int) -> ChainRow | None:
    """The row of reactions when that op record was merged; None where the topic tells nothing of it."""
    found: ChainRow | None = None
    for block in logs.blocks(rules.topics.receipts, partition):
        for record in block:
            if record.key != REACTION_REPLICA.encode() or record.value is None:
                continue
            try:
                row = rules.records.decode_chain_row(record.value)
            except (Undecodable, UnknownSchema):  # anybody's tool may write to a topic
                continue
            if (
                row.replica == REACTION_REPLICA
                and row.offset <= group
                and (found is None or row.offset >= found.offset)
            ):
                found = row
    return found
