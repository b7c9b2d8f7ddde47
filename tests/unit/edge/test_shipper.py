"""Which batch goes out, and which goes out again."""

from __future__ import annotations

from collections.abc import Callable

from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.outgoing.shipper import AGAIN_CAP_SECONDS, AGAIN_SECONDS, EARLY_SECONDS, REFUSED_SECONDS
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS


def fill(replica: Replica, batches: int) -> None:
    for number in range(batches):
        replica.do("fill", store="s1", prefix=f"{number}-", count=500)


def numbers(replica: Replica) -> list[int]:
    return [batch.number for batch in replica.ship()]


def test_no_more_is_on_its_way_than_allowed(lives: Callable[..., Replica]) -> None:
    replica = lives(in_flight=2)
    fill(replica, 4)
    first = replica.ship()
    assert [b.number for b in first] == [1, 2]

    replica.shipper.delivered(first[0], now=0.0)

    assert numbers(replica) == [3]


def test_what_was_on_its_way_goes_out_again_in_order_before_what_is_new(lives: Callable[..., Replica]) -> None:
    replica = lives(in_flight=2)
    fill(replica, 3)
    sent = replica.ship()

    replica.shipper.resume()

    again = replica.ship()
    assert again == sent
    for batch in again:
        replica.shipper.delivered(batch, now=0.0)
    assert numbers(replica) == [3]


def test_a_delivered_batch_without_receipt_goes_out_again_after_a_while_that_doubles(replica: Replica) -> None:
    fill(replica, 1)
    (sent,) = replica.ship()
    shipper, now = replica.shipper, 0.0
    for attempt in range(12):
        shipper.delivered(sent, now)
        pause = min(AGAIN_CAP_SECONDS, AGAIN_SECONDS * 2**attempt)
        assert not shipper.tick(now + pause - 1)
        assert shipper.tick(now + pause)
        assert replica.ship() == [sent]
        now += pause
    assert pause == AGAIN_CAP_SECONDS


def test_a_batch_with_a_receipt_is_never_sent_again(replica: Replica) -> None:
    fill(replica, 1)
    (sent,) = replica.ship()
    replica.shipper.delivered(sent, now=0.0)
    (batch,) = replica.outbox.sealed.all()
    replica.journal.stage(replica.outbox.sealed.settling(batch, ()), sync=False)
    replica.shipper.answered(batch.place)

    assert not replica.shipper.tick(1e9)
    replica.shipper.resume()
    assert numbers(replica) == []


def test_what_was_delivered_is_not_sent_again_because_a_connection_was(replica: Replica) -> None:
    fill(replica, 3)
    first, second, third = replica.ship()
    replica.shipper.delivered(first, now=0.0)

    replica.shipper.resume()
    replica.shipper.delivered(second, now=0.0)  # the old client's last word comes after all

    assert replica.ship() == [third]


def test_what_a_client_gave_up_goes_out_again_alone(replica: Replica) -> None:
    fill(replica, 2)
    first, _ = replica.ship()

    replica.shipper.failed(first)

    assert replica.ship() == [first]


def test_what_the_cloud_did_not_believe_goes_out_again_soon(replica: Replica) -> None:
    fill(replica, 2)
    sent = replica.ship()
    for batch in sent:
        replica.shipper.delivered(batch, now=0.0)

    assert replica.shipper.refused("retail", sent[0].partition, now=0.0)
    assert not replica.shipper.refused("retail", sent[0].partition + 1, now=0.0), "nothing of ours was sent there"

    assert not replica.shipper.tick(REFUSED_SECONDS - 1)
    assert replica.shipper.tick(REFUSED_SECONDS)
    assert replica.ship() == sent


def test_what_came_too_early_goes_out_again_at_once(replica: Replica) -> None:
    fill(replica, 2)
    _, second = replica.ship()
    replica.shipper.delivered(second, now=0.0)

    replica.shipper.early([("retail", second.partition, 2)], now=0.0)

    assert replica.shipper.tick(EARLY_SECONDS)
    assert replica.ship() == [second]


def test_it_is_idle_only_when_nothing_is_on_its_way(replica: Replica) -> None:
    assert replica.shipper.idle and not replica.shipper.waiting
    fill(replica, 1)
    assert replica.shipper.waiting
    (sent,) = replica.ship()
    assert not replica.shipper.idle and not replica.shipper.waiting
    replica.shipper.delivered(sent, now=0.0)
    assert replica.shipper.idle


def test_a_command_is_carried_until_the_log_has_its_batch(replica: Replica) -> None:
    lsn = replica.do("receive", store="s1", sku="tea", qty=1).entry.lsn
    assert not replica.shipper.carries(lsn), "it is not sealed yet"
    (sent,) = replica.ship()
    assert replica.shipper.carries(lsn)
    replica.shipper.resume()
    assert replica.shipper.carries(lsn), "nobody knows whether it arrived"
    (sent,) = replica.ship()
    replica.shipper.delivered(sent, now=0.0)
    assert not replica.shipper.carries(lsn)
    replica.shipper.resume()
    assert not replica.shipper.carries(lsn), "the log has it, whatever goes out again"


def test_a_batch_that_the_disk_took_back_carries_nothing(lives: Callable[..., Replica]) -> None:
    replica = lives(in_flight=1)
    lsn = replica.do("receive", store="s1", sku="tea", qty=1).entry.lsn
    found = replica.shipper.next()
    assert found is not None
    replica.journal.stage(found[1], sync=True)
    replica.journal.failed(RuntimeError("the disk"))
    replica.shipper.failed(found[0])
    replica.do("receive", store="s1", sku="milk", qty=1)
    (sent,) = replica.ship()
    assert sent.lsns == (lsn, lsn + 1)
    replica.shipper.delivered(sent, now=0.0)
    assert not replica.shipper.carries(lsn)


def test_a_delivery_that_is_told_after_the_answer_leaves_nothing_open(replica: Replica, cloud: Cloud) -> None:
    fill(replica, 1)
    (sent,) = replica.ship()
    cloud.merge(sent)
    replica.pull_receipts(cloud.of("retail.receipts", sent.partition), sent.partition)
    replica.shipper.delivered(sent, now=0.0)
    assert replica.shipper.settled and replica.shipper.idle


LOW, HIGH = (next(s for s in (f"s{n}" for n in range(99)) if partition_of(s, PARTITIONS) == p) for p in (0, 2))


def test_a_partition_with_much_to_send_again_starves_no_other(lives: Callable[..., Replica]) -> None:
    """After a restart nobody knows what the log has: one partition's batches, another's, and what is new take turns."""
    replica = lives(scopes=(LOW, HIGH))
    for number in range(4):
        replica.do("fill", store=LOW, prefix=f"{number}-", count=SEALED_OPS)
    replica.do("receive", store=HIGH, sku="tea", qty=1)
    assert len(replica.ship()) == 5
    replica = lives(scopes=(LOW, HIGH), in_flight=3)

    assert [(batch.partition, batch.number) for batch in replica.ship()] == [(0, 1), (2, 1), (0, 2)]

    replica = lives(scopes=(LOW, HIGH), in_flight=2)
    replica.shipper.forget("retail", 2)
    replica.do("receive", store=HIGH, sku="tea", qty=1)
    assert {batch.partition for batch in replica.ship()} == {0, 2}, "what is new waits for no other partition's past"


def test_nothing_new_overtakes_what_goes_again_in_its_partition(lives: Callable[..., Replica]) -> None:
    replica = lives()
    fill(replica, 3)
    replica.ship(limit=2)
    replica = lives()

    assert numbers(replica) == [1, 2, 3]
