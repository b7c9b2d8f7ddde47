"""A replica's cursor never says more than its store has: what was read and how far are one write."""

from __future__ import annotations

import pytest

from driftlog_edge.incoming.intake import Intake
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.ports import Chunk, Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
STATES = "retail.state"


async def test_the_cursor_moves_with_what_was_read_and_readers_hear_of_it_afterwards(
    replica: Replica, cloud: Cloud, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Writes] = []
    told: list[int] = []
    below = replica.store.write

    def write(writes: Writes, *, sync: bool) -> None:
        written.append(dict(writes))
        below(writes, sync=sync)

    def pulled(found: Pulled) -> None:
        told.append(len(written))

    monkeypatch.setattr(replica.store, "write", write)
    committer = Committer(replica.journal, replica.store)
    intake = Intake({STATES: ("retail", "state")}, replica.puller, committer, ids, pulled)
    cloud.write(TEA, "on_hand", "increment", 5)
    await intake.take(Chunk(STATES, S1, cloud.of(STATES, S1), at_end=True))
    await committer.drained()
    committer.close()

    moving = [writes for writes in written if (Family.META, keys.cursor_key(STATES, S1)) in writes]
    assert (
        len(moving) == 1 and (Family.CONFIRMED, keys.confirmed_prefix("retail", S1, 0) + document_key(TEA)) in moving[0]
    )
    assert told == [1], "told once, when it was in the store"
