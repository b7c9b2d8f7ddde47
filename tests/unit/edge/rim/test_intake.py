"""A replica's cursor never says more than its store has: what was read and how far are one write."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from driftlog_edge.incoming.intake import Intake, Superseded
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.ports import Chunk, Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.cursors import Cursor, cursor_of, moved
from driftlog_edge.store.lives import AWAY
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Notice
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
STATES = "retail.state"


async def test_what_comes_from_elsewhere_never_goes_into_a_return_that_has_begun_meanwhile(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    """The feed stands at the old cursor: its next record is not the topic's first, nor its end the return's."""
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
    intake = Intake({STATES: ("retail", "state")}, replica.puller, committer, ids, lambda pulled: None)
    for sku in ("tea", "oat"):
        cloud.write(DocumentId("Stock", "s1", sku), "on_hand", "increment", 5)
    intake.follow([(STATES, S1)])
    await intake.take(Chunk(STATES, S1, cloud.of(STATES, S1), at_end=True))
    await committer.stage(replica.puller.returns.begin("retail", S1, "second", "made anew", 0, anew=True))
    cloud.write(TEA, "on_hand", "increment", 5)
    for late in (Chunk(STATES, S1, cloud.of(STATES, S1)[2:], at_end=True), Chunk(STATES, S1, [], at_end=True)):
        with pytest.raises(Superseded):
            await intake.take(late)
    assert replica.on_hand("oat") == 5 and replica.puller.returns.cursor("retail", S1).offset == 0
    intake.follow([(STATES, S1)])
    await intake.take(Chunk(STATES, S1, cloud.of(STATES, S1), at_end=True))
    await intake.take(Chunk(STATES, S1, [], at_end=True))
    assert (replica.on_hand("tea"), replica.puller.returns.all()) == (10, {})
    await committer.drained()
    committer.close()


async def test_a_row_that_begins_a_return_ends_the_connection_though_no_state_comes(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
    topics = {STATES: ("retail", "state"), "retail.receipts": ("retail", "receipts")}
    intake = Intake(topics, replica.puller, committer, ids, lambda pulled: None)  # type: ignore[arg-type]
    intake.follow([(STATES, S1), ("retail.receipts", S1)])
    for number in range(2):
        replica.do("receive", store="s1", sku="tea", qty=1)
        (sealed,) = replica.ship()
        if not number:
            cloud.merge(sealed)
    row = cloud.rows[replica.lives.chain("retail", S1).replica, S1]
    await intake.take(Chunk("retail.receipts", S1, cloud.of("retail.receipts", S1), at_end=True))
    cloud.publish_row(replace(row, notice=Notice(sealed.number, sealed.digest[:8], 9, AWAY, "")))
    with pytest.raises(Superseded):
        await intake.take(Chunk("retail.receipts", S1, cloud.of("retail.receipts", S1)[1:], at_end=True))
    assert replica.puller.returns.of("retail", S1) is not None
    await committer.drained()
    committer.close()


async def test_what_was_fetched_of_a_topic_does_not_move_the_cursor_that_a_look_has_sent_back(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    """The topic was made anew: the old client goes on at its offset, and what lies before that would never be read."""
    receipts = "retail.receipts"
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
    intake = Intake({receipts: ("retail", "receipts")}, replica.puller, committer, ids, lambda pulled: None)
    await committer.stage(moved(receipts, S1, Cursor(0, "first")))
    intake.follow([(receipts, S1)])
    replica.do("receive", store="s1", sku="tea", qty=1)
    for sealed in replica.ship():
        cloud.merge(sealed)
    await intake.take(Chunk(receipts, S1, cloud.of(receipts, S1), at_end=True))
    assert cursor_of(replica.journal, receipts, S1).offset == 1
    await committer.stage(moved(receipts, S1, Cursor(0, "second")))
    with pytest.raises(Superseded):
        await intake.take(Chunk(receipts, S1, cloud.of(receipts, S1), at_end=True))
    assert cursor_of(replica.journal, receipts, S1)[:2] == (0, "second")
    await committer.drained()
    committer.close()


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
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
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


async def test_readers_hear_of_it_also_where_the_connection_is_given_up_while_the_disk_writes(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    """Nothing of it comes again: who watches would wait for ever, and a command have its verdict with nobody told."""
    told: list[Pulled] = []
    committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
    intake = Intake({STATES: ("retail", "state")}, replica.puller, committer, ids, told.append)
    cloud.write(TEA, "on_hand", "increment", 5)
    intake.follow([(STATES, S1)])
    staged = asyncio.Event()
    replica.journal.on_staged(lambda writes: staged.set())
    taking = asyncio.create_task(intake.take(Chunk(STATES, S1, cloud.of(STATES, S1), at_end=True)))
    await staged.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await committer.drained()
    await asyncio.sleep(0)
    assert [pulled.changed for pulled in told] == [(TEA,)]
    committer.close()
