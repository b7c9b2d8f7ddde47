"""The pump sends while there is something to send, and looks on where much is only passed by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from driftlog_edge.errors import DiskFull
from driftlog_edge.outgoing import outbox as outbox_module
from driftlog_edge.outgoing import pump as pump_module
from driftlog_edge.outgoing.held import PAUSE_SECONDS
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.outgoing.pump import AHEAD, Pump
from driftlog_edge.ports import Family, Sealed, Shipping, Unreachable, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import SchemaIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.test_held import LOW, answer, commands
from tests.unit.edge.waiting import until

S1 = partition_of("s1", PARTITIONS)


class AtOnce:
    """A committer whose disk takes no time, and a client whose every batch is answered before the next."""

    def __init__(self, replica: Replica, cloud: Cloud, now: float) -> None:
        self.replica, self.cloud, self.now = replica, cloud, now
        self.sent: list[Sealed] = []

    def stage(self, writes: Writes, *, sync: bool) -> asyncio.Future[None]:
        self.replica.journal.stage(writes, sync=sync)
        self.replica.commit()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def send(self, batch: Sealed) -> None:
        self.sent.append(batch)
        answer(self.replica, self.cloud, [batch], self.now)


async def test_what_waits_behind_deferred_commands_hides_nothing_that_is_due(
    lives: Callable[..., Replica], cloud: Cloud, ids: SchemaIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "AHEAD", 1)  # each is answered before the next is sealed
    replica = lives(scopes=(LOW,))
    cloud.rejects = dict.fromkeys(("unknown", "known"), "undeclared")
    replica.do("fill", "unknown", store=LOW, prefix="x-", count=SEALED_OPS)
    answer(replica, cloud, replica.ship(), 0.0)
    for number in range(3 * SEALED_OPS):
        replica.do("receive", f"behind-{number}", store=LOW, sku="x-0", qty=1)
    replica.do("fill", "known", store=LOW, prefix="known-", count=SEALED_OPS)
    answer(replica, cloud, replica.ship(), 0.0)
    del cloud.rejects["known"]

    replica.shipper.tick(PAUSE_SECONDS)
    rim = AtOnce(replica, cloud, PAUSE_SECONDS)
    pump = Pump(replica.shipper, cast(Committer, rim), ids, lambda: cast(Shipping, cast(Any, rim)))
    pump.run()
    await until(lambda: len(rim.sent) == 2 and not replica.shipper.waiting)
    assert commands(replica, rim.sent) == ["unknown", "known"]
    assert pump.problem == ""


class Slow:
    """A committer whose disk syncs when it is told to, all that waits at once, and clients that come and go."""

    def __init__(self, replica: Replica, ids: SchemaIds) -> None:
        self.replica = replica
        self.staged: list[asyncio.Future[None]] = []
        self.sent: list[int] = []
        self.refuses = False
        """Does the client not take the next one?"""
        self.link: object = self
        self.pump = Pump(replica.shipper, cast(Committer, self), ids, lambda: cast(Shipping, self.link))

    def stage(self, writes: Writes, *, sync: bool) -> asyncio.Future[None]:
        assert sync, "the cloud may know nothing that the device could forget"
        self.replica.journal.stage(writes, sync=True)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.exception())  # looked at, as the committer's are
        self.staged.append(future)
        return future

    def send(self, batch: Sealed) -> None:
        written = self.replica.journal.durable.get(
            Family.SEALED, keys.sealed_key("retail", batch.partition, batch.number)
        )
        assert written is not None, "sent before it was synced"
        if self.refuses:
            self.refuses = False
            raise Unreachable("the client takes no record")
        self.sent.append(batch.number)

    def sync_one(self) -> None:
        """The disk has the first of what waits, and no more."""
        group = self.replica.journal.take(limit=1)
        self.replica.store.write(group[0].writes, sync=True)
        self.replica.journal.written(group)
        self.staged.pop(0).set_result(None)

    def sync(self) -> None:
        try:
            self.replica.commit()
        except DiskFull as error:
            for future in self.staged:
                future.set_exception(error)
        else:
            for future in self.staged:
                future.set_result(None)
        self.staged.clear()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """The ops that a batch has here."""
    monkeypatch.setattr(outbox_module, "SEALED_OPS", 5)
    return outbox_module.SEALED_OPS


@pytest.fixture
def slow(replica: Replica, ids: SchemaIds, small: int) -> Slow:
    for number in range(AHEAD + 2):
        replica.do("fill", f"c{number}", store="s1", prefix=f"p{number}-", count=small)
    return Slow(replica, ids)


async def test_in_a_long_queue_some_batches_share_a_sync_and_none_is_sent_before_it(slow: Slow) -> None:
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    assert slow.sent == []
    slow.sync()
    await until(lambda: len(slow.staged) == 2)
    assert slow.sent == list(range(1, AHEAD + 1))
    slow.sync()
    await until(lambda: len(slow.sent) == AHEAD + 2)
    assert slow.sent == list(range(1, AHEAD + 3))


async def test_the_next_are_sealed_while_the_disk_syncs_and_no_more_than_so_many(slow: Slow) -> None:
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    for sent in (1, 2):
        slow.sync_one()
        await until(lambda: len(slow.staged) == AHEAD)  # in the place of the one that left
        assert slow.sent == list(range(1, sent + 1))
    await slow.pump.stop()


async def test_what_a_client_does_not_take_goes_again_only_when_the_disk_has_it(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "backoff", lambda *_: 0.0)
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.refuses = True
    slow.sync_one()
    for _ in range(10):
        await asyncio.sleep(0)  # it would try again by now
    assert slow.sent == [] and not slow.refuses
    await until(lambda: slow.sync() or len(slow.sent) == AHEAD + 2)
    assert sorted(slow.sent) == list(range(1, AHEAD + 3))


async def test_a_death_in_the_middle_of_a_shared_sync_leaves_each_command_in_one_batch(
    lives: Callable[..., Replica], ids: SchemaIds, small: int
) -> None:
    replica = lives()
    for number in range(AHEAD):
        replica.do("fill", f"c{number}", store="s1", prefix=f"p{number}-", count=small)
    slow = Slow(replica, ids)
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    for _ in range(3):
        slow.sync_one()
    await until(lambda: slow.sent == [1, 2, 3])
    kept = [replica.outbox.sealed.get("retail", S1, number) for number in slow.sent]
    await slow.pump.stop()

    after = lives()
    assert [after.outbox.sealed.get("retail", S1, number) for number in (1, 2, 3, 4)] == [*kept, None]
    sent = after.ship()
    assert sorted(batch.number for batch in sent) == list(range(1, AHEAD + 1))
    assert sorted(lsn for batch in sent for lsn in batch.lsns) == list(range(1, AHEAD + 1))


async def test_when_the_disk_refuses_nothing_is_sent_and_all_waits_as_before(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "backoff", lambda *_: 3600.0)  # no other attempt before this has looked
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.replica.store.full = True
    slow.sync()
    await until(lambda: slow.pump.problem)
    assert slow.sent == []
    assert len(slow.replica.outbox.queue) == AHEAD + 2

    slow.replica.store.full = False
    slow.pump.hurry()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.sync()
    await until(lambda: len(slow.staged) == 2)
    assert slow.sent == list(range(1, AHEAD + 1))
    await slow.pump.stop()


async def test_a_disk_that_fills_in_the_middle_takes_back_only_what_it_does_not_have(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "backoff", lambda *_: 3600.0)
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.sync_one()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.replica.store.full = True
    slow.sync()
    await until(lambda: slow.pump.problem)
    assert slow.sent == [1]
    assert len(slow.replica.outbox.queue) == AHEAD + 1

    slow.replica.store.full = False
    slow.pump.hurry()
    await until(lambda: slow.sync() or len(slow.sent) == AHEAD + 2)
    assert slow.sent == list(range(1, AHEAD + 3))


async def test_what_was_synced_when_the_connection_was_another_goes_out_once_by_the_new_one(slow: Slow) -> None:
    slow.pump.run()
    await until(lambda: len(slow.staged) == AHEAD)
    slow.link = new = Slow(slow.replica, slow.pump._ids)
    slow.replica.shipper.resume()
    slow.sync_one()
    for _ in range(10):
        await asyncio.sleep(0)  # the new one would be given what is not synced by now
    await until(lambda: slow.sync() or len(new.sent) == AHEAD + 2)
    assert slow.sent == []
    assert sorted(new.sent) == list(range(1, AHEAD + 3))


async def test_what_cannot_be_sealed_holds_up_nothing_that_is_sealed(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    following, found = slow.replica.shipper.next, 0

    def next_but_three() -> Any:
        nonlocal found
        found += 1
        if found > 3:
            raise DiskFull("the fourth cannot be sealed", "see")
        return following()

    monkeypatch.setattr(slow.replica.shipper, "next", next_but_three)
    slow.pump.run()
    await until(lambda: len(slow.staged) == 3)
    slow.sync()
    await until(lambda: slow.pump.problem)
    assert slow.sent == [1, 2, 3]
    await slow.pump.stop()


@pytest.fixture
def at_rest(replica: Replica, ids: SchemaIds) -> Slow:
    """A pump that has sent something before, and has nothing to do."""
    slow = Slow(replica, ids)
    slow.pump._envelope_known = True
    return slow


async def test_a_command_and_its_batch_share_a_sync_where_nothing_else_is_on_its_way(at_rest: Slow) -> None:
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    assert len(at_rest.staged) == 1, "in the same turn of the loop: the group has not left"
    at_rest.replica.run("fill", "c2", store="s1", prefix="q-", count=1)
    at_rest.pump.seal_along()
    assert len(at_rest.staged) == 1, "one is on its way"
    for _ in range(10):
        await asyncio.sleep(0)
    assert at_rest.sent == []
    at_rest.sync()
    await until(lambda: at_rest.sync() or at_rest.sent == [1, 2])
    await until(lambda: not at_rest.pump._errand.running)


async def test_nothing_is_sealed_along_where_there_is_no_way_out_or_nothing_to_send(at_rest: Slow) -> None:
    at_rest.pump.seal_along()
    at_rest.link = None
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    assert (at_rest.staged, at_rest.pump._errand.running) == ([], False)


@pytest.mark.parametrize("late", [False, True], ids=["before it begins", "while the disk syncs"])
async def test_what_was_sealed_along_for_another_connection_goes_out_once_by_the_new_one(
    at_rest: Slow, late: bool
) -> None:
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    for _ in range(5 * late):
        await asyncio.sleep(0)
    at_rest.link = new = Slow(at_rest.replica, at_rest.pump._ids)
    at_rest.replica.shipper.resume()
    at_rest.pump.hurry()
    await until(lambda: at_rest.sync() or new.sent == [1])
    await until(lambda: not at_rest.pump._errand.running)
    assert (at_rest.sent, new.sent) == ([], [1])


async def test_what_was_sealed_along_waits_where_the_connection_is_lost(at_rest: Slow) -> None:
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    way, at_rest.link = at_rest.link, None
    at_rest.sync()
    await until(lambda: not at_rest.pump._errand.running)
    assert at_rest.sent == []
    at_rest.link = way
    at_rest.replica.shipper.resume()
    at_rest.pump.hurry()
    await until(lambda: at_rest.sent == [1])


async def test_a_disk_that_refuses_takes_back_a_command_and_what_was_sealed_along(
    at_rest: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "backoff", lambda *_: 3600.0)
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    at_rest.replica.store.full = True
    at_rest.sync()
    await until(lambda: at_rest.pump.problem)
    assert (at_rest.sent, len(at_rest.replica.outbox.queue)) == ([], 0)
    at_rest.replica.store.full = False
    at_rest.replica.do("fill", "c2", store="s1", prefix="q-", count=1)
    at_rest.pump.hurry()
    await until(lambda: at_rest.sync() or at_rest.sent == [1])
    batch = at_rest.replica.outbox.sealed.get("retail", S1, 1)
    assert batch is not None
    assert [at_rest.replica.views.command(lsn).id for lsn in batch.lsns] == ["c2"]


async def test_what_cannot_be_sealed_along_is_the_pumps_to_tell(at_rest: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise DiskFull("it cannot be sealed", "see")

    monkeypatch.setattr(at_rest.replica.shipper, "next", refuse)
    at_rest.replica.run("fill", "c1", store="s1", prefix="p-", count=1)
    at_rest.pump.seal_along()
    assert not at_rest.pump._errand.running
    at_rest.pump.run()
    await until(lambda: "cannot be sealed" in at_rest.pump.problem)
    await at_rest.pump.stop()
