"""What the cloud has deferred: when it is tried again, and whom it holds up meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from driftlog_edge.errors import DiskFull
from driftlog_edge.outgoing.held import CAP_SECONDS, PAUSE_SECONDS
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.ports import Sealed
from driftlog_edge.store.command_log import Status
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

LOW, HIGH = (next(s for s in (f"s{n}" for n in range(99)) if partition_of(s, PARTITIONS) == p) for p in (0, 2))


@pytest.fixture
def replica(lives: Callable[..., Replica]) -> Replica:
    return lives(scopes=(LOW, HIGH))


def answer(replica: Replica, cloud: Cloud, batches: Iterable[Sealed], now: float) -> None:
    """The cloud's word on each, as the agent hears it."""
    for batch in batches:
        replica.shipper.delivered(batch, now)
        cloud.merge(batch)
        newest = cloud.of("retail.receipts", batch.partition)[-1:]
        for heard in replica.pull_receipts(newest, batch.partition).answered:
            if heard.deferred:
                replica.shipper.deferred(heard.space, heard.partition, now)


def commands(replica: Replica, batches: Iterable[Sealed]) -> list[str]:
    return [replica.views.command(lsn).id for batch in batches for lsn in batch.lsns]


def one_by_one(replica: Replica, cloud: Cloud, now: float) -> list[Sealed]:
    """A round, each of whose batches is answered before the next one is sealed."""
    sent: list[Sealed] = []
    while found := replica.ship(limit=1):
        answer(replica, cloud, found, now)
        sent += found
    return sent


def in_vain(replica: Replica, cloud: Cloud, now: float) -> bool:
    """Is a round begun at this time? It is deferred whole if so."""
    replica.shipper.tick(now)
    sent = replica.ship()
    replica.shipper.tick(now + 1)  # time goes on until the answer is there
    answer(replica, cloud, sent, now + 1)
    return bool(sent)


def test_a_long_queue_that_was_deferred_once_waits_no_longer_than_a_short_one(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {f"c{number}": "undeclared" for number in range(6)}
    sent = []
    for name in cloud.rejects:  # each is a batch of its own, all under way before the first word comes
        replica.do("fill", name, store=LOW, prefix=f"{name}-", count=SEALED_OPS)
        sent += replica.ship()
    answer(replica, cloud, sent, 0.0)

    replica.shipper.tick(PAUSE_SECONDS - 1)
    assert replica.ship() == []
    cloud.rejects.clear()
    replica.shipper.tick(PAUSE_SECONDS)
    assert commands(replica, replica.ship()) == [f"c{number}" for number in range(6)]


def test_the_pause_doubles_with_each_round_that_was_in_vain(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {"c": "undeclared"}
    replica.do("receive", "c", store=LOW, sku="tea", qty=1)
    assert in_vain(replica, cloud, 0.0)

    now, pause = 1.0, PAUSE_SECONDS
    while pause < CAP_SECONDS:
        assert not in_vain(replica, cloud, now + pause - 1)
        assert in_vain(replica, cloud, now + pause)
        now, pause = now + pause + 1, 2 * pause
    assert in_vain(replica, cloud, now + CAP_SECONDS)


def test_after_a_round_that_was_taken_the_first_pause_is_short_again(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {"c": "undeclared", "d": "undeclared"}
    replica.do("receive", "c", store=LOW, sku="tea", qty=1)
    in_vain(replica, cloud, 0.0)
    in_vain(replica, cloud, 1 + PAUSE_SECONDS)
    del cloud.rejects["c"]
    now = 2 + 3 * PAUSE_SECONDS
    assert in_vain(replica, cloud, now)
    assert len(replica.outbox.queue.held) == 0

    now += 2 * PAUSE_SECONDS
    replica.shipper.tick(now)
    replica.do("receive", "d", store=LOW, sku="tea", qty=1)
    assert in_vain(replica, cloud, now)
    assert in_vain(replica, cloud, now + 1 + PAUSE_SECONDS)


def test_what_could_not_be_sealed_again_goes_as_soon_as_it_can(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {"c": "undeclared"}
    replica.do("receive", "c", store=LOW, sku="tea", qty=1)
    in_vain(replica, cloud, 0.0)
    now = 1 + PAUSE_SECONDS
    replica.shipper.tick(now)
    replica.store.full = True
    with pytest.raises(DiskFull):
        replica.ship()
    replica.store.full = False

    replica.shipper.tick(now + PAUSE_SECONDS)
    assert commands(replica, replica.ship()) == ["c"]


def test_what_one_partition_holds_holds_up_no_other(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {"low": "undeclared", "high": "undeclared"}
    replica.do("receive", "low", store=LOW, sku="tea", qty=1)
    replica.do("receive", "high", store=HIGH, sku="tea", qty=1)
    assert in_vain(replica, cloud, 0.0)
    del cloud.rejects["low"]

    assert in_vain(replica, cloud, 1 + PAUSE_SECONDS)
    replica.do("receive", "after low", store=LOW, sku="tea", qty=1)
    replica.do("receive", "after high", store=HIGH, sku="tea", qty=1)
    assert commands(replica, replica.ship()) == ["after low"]
    assert not replica.shipper.waiting, "what is held for a while is nothing that could go, and does not"


def test_what_is_deferred_first_keeps_nothing_from_its_turn_that_stands_behind_it(
    replica: Replica, cloud: Cloud
) -> None:
    cloud.rejects = dict.fromkeys(("unknown", "known"), "undeclared")
    replica.do("fill", "unknown", store=LOW, prefix="unknown-", count=SEALED_OPS)
    replica.do("fill", "known", store=LOW, prefix="known-", count=SEALED_OPS)
    one_by_one(replica, cloud, 0.0)
    assert len(replica.outbox.queue.held) == 2
    del cloud.rejects["known"]

    replica.shipper.tick(PAUSE_SECONDS)
    assert commands(replica, one_by_one(replica, cloud, PAUSE_SECONDS)) == ["unknown", "known"]
    assert replica.entry("known").status is Status.MERGED
    assert len(replica.outbox.queue.held) == 1
    replica.shipper.tick(PAUSE_SECONDS + 1)
    assert not replica.shipper.waiting, "what was deferred in a round is not tried again in it"


def test_what_stands_behind_a_deferred_command_on_its_documents_waits_for_the_next_round(
    replica: Replica, cloud: Cloud
) -> None:
    cloud.rejects = {"first": "undeclared"}
    replica.do("fill", "first", store=LOW, prefix="x-", count=SEALED_OPS)
    one_by_one(replica, cloud, 0.0)
    for number in range(2 * SEALED_OPS):
        replica.do("receive", f"behind-{number}", store=LOW, sku="x-0", qty=1)
    assert (len(replica.outbox.queue.held), replica.shipper.waiting) == (2 * SEALED_OPS + 1, False)

    replica.shipper.tick(PAUSE_SECONDS)
    looks = 0
    (first,) = replica.ship(limit=1)
    assert commands(replica, [first]) == ["first"]
    answer(replica, cloud, [first], PAUSE_SECONDS)
    while replica.shipper.waiting:
        assert replica.shipper.next() is None
        looks += 1
    assert looks > 1, "some at a time"
    assert len(replica.outbox.queue.held) == 2 * SEALED_OPS + 1

    cloud.rejects.clear()
    replica.shipper.tick(3 * PAUSE_SECONDS)
    assert len(commands(replica, one_by_one(replica, cloud, 3 * PAUSE_SECONDS))) == 2 * SEALED_OPS + 1
    assert len(replica.outbox.queue.held) == 0


def test_a_steady_writer_keeps_no_round_from_its_end(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects = {"first": "undeclared"}
    replica.do("receive", "first", store=LOW, sku="tea", qty=1)
    in_vain(replica, cloud, 0.0)
    replica.shipper.tick(1 + PAUSE_SECONDS)
    replica.do("receive", "later", store=LOW, sku="tea", qty=1)
    assert commands(replica, replica.ship()) == ["first"]
    replica.shipper.tick(2 + PAUSE_SECONDS)
    assert commands(replica, replica.ship()) == ["later"], "nobody has deferred anything again"
