"""Which batch goes out, and which goes out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from driftlog_edge.outgoing import pauses, shipper
from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.outgoing.shipper import (
    AGAIN_CAP_SECONDS,
    AGAIN_SECONDS,
    REFUSED_SECONDS,
    STUCK_CAP_SECONDS,
    STUCK_SECONDS,
)
from driftlog_edge.ports import Sealed
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


def test_no_more_bytes_are_on_their_way_than_memory_is_meant_for_them(
    lives: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = lives(in_flight=1000)
    fill(replica, 5)
    (size,) = {len(batch.value) for batch in replica.ship(1)}
    monkeypatch.setattr(shipper, "FLYING_BYTES", 2 * size + size // 2)
    assert numbers(replica) == [2, 3], "one more goes as long as there is any room"
    replica.shipper.resume()
    again = replica.ship()
    assert [batch.number for batch in again] == [1, 2, 3]
    replica.shipper.delivered(again[0], now=0.0)
    assert numbers(replica) == [4]


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


def in_the_log(replica: Replica, batches: Sequence[Sealed], first: int, now: float = 0.0) -> None:
    """The log has them, one after another from this offset on."""
    for offset, batch in enumerate(batches, first):
        replica.shipper.delivered(batch._replace(offset=offset), now)


def told(replica: Replica, last: int, offset: int, now: float = 0.0) -> None:
    replica.shipper.told("retail", partition_of("s1", PARTITIONS), last, offset, now)


def test_what_the_cloud_has_not_taken_goes_out_again_at_once_and_in_order(replica: Replica) -> None:
    fill(replica, 5)
    sent = replica.ship()
    in_the_log(replica, sent, 100)

    told(replica, last=2, offset=103)

    assert replica.ship() == sent[2:4], "of the last nobody knows yet"
    told(replica, last=2, offset=104)
    assert replica.ship() == sent[4:], "nothing that is on its way goes twice"
    in_the_log(replica, sent[2:], 105)
    told(replica, last=3, offset=105)
    assert replica.ship() == [], "what lies behind the record up to which the row has come is not decided"


def test_a_chain_that_moves_waits_for_nothing_and_one_that_does_not_longer_each_time(replica: Replica) -> None:
    """A row that has no room takes some of what waits each time: that took a pause which doubled, up to minutes."""
    fill(replica, 10)
    sent, now = replica.ship(), 0.0
    in_the_log(replica, sent, 0)
    for last in range(0, 10, 2):
        for batch in sent[:last]:
            replica.shipper.answered(("retail", batch.partition, batch.number))
        told(replica, last, 100 * last + 99, now)
        assert replica.ship() == sent[last:], "as long as it moves"
        in_the_log(replica, sent[last:], 100 * last + 100, now)
    for attempt in range(12):
        end = 1000 * (attempt + 1)
        told(replica, 8, end - 1, now)
        told(replica, 8, end - 1, now)
        pause = min(STUCK_CAP_SECONDS, STUCK_SECONDS * 2**attempt)
        assert not replica.shipper.tick(now + pause - 0.1)
        now += pause
        assert replica.shipper.tick(now)
        assert replica.ship() == sent[8:]
        in_the_log(replica, sent[8:], end, now)
    assert pause == STUCK_CAP_SECONDS


def test_nothing_new_is_sealed_behind_what_the_cloud_does_not_take(lives: Callable[..., Replica]) -> None:
    replica = lives(scopes=("s1", HIGH))
    fill(replica, 2)
    sent = replica.ship()
    in_the_log(replica, sent, 100)
    fill(replica, 1)
    told(replica, last=0, offset=101)
    replica.do("receive", store=HIGH, sku="tea", qty=1)
    found = replica.ship()
    assert [batch for batch in found if batch.partition == sent[0].partition] == sent
    assert [batch.number for batch in found if batch not in sent] == [1], "other partitions go on"
    in_the_log(replica, sent, 102)
    told(replica, last=2, offset=103)
    assert numbers(replica) == [3]


def test_where_nobody_knows_where_a_batch_lies_it_waits_as_if_it_was_not_decided(replica: Replica) -> None:
    fill(replica, 1)
    (sent,) = replica.ship()
    replica.shipper.delivered(sent, now=0.0)
    told(replica, last=0, offset=9)
    assert not replica.shipper.tick(AGAIN_SECONDS - 1)
    assert replica.shipper.tick(AGAIN_SECONDS)


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


# -- the log refuses


def test_what_the_log_refuses_goes_again_after_a_pause_that_doubles(lives: Callable[..., Replica]) -> None:
    replica = lives(in_flight=2)
    fill(replica, 3)
    now, pause = 0.0, pauses.FIRST_SECONDS
    for _ in range(10):
        sent = replica.ship()
        assert [batch.number for batch in sent] == [1, 2], "nothing new overtakes them"
        for batch in sent:
            replica.shipper.not_taken(batch, now)
        assert not replica.shipper.idle, "it is not done"
        now += pause
        assert numbers(replica) == [], "it is left alone"
        replica.shipper.tick(now - 0.1)
        assert numbers(replica) == []
        assert replica.shipper.tick(now), "it is tried again"
        pause = min(pauses.LONGEST_SECONDS, 2 * pause)
    assert pause == pauses.LONGEST_SECONDS


def test_other_partitions_do_not_wait_for_one_whose_batches_are_refused(lives: Callable[..., Replica]) -> None:
    replica = lives(scopes=(LOW, HIGH), in_flight=4)
    replica.do("fill", store=LOW, prefix="a", count=1)
    (refused,) = replica.ship()
    replica.shipper.not_taken(refused, 0.0)
    replica.do("fill", store=LOW, prefix="b", count=1)
    replica.do("fill", store=HIGH, prefix="a", count=1)
    (other,) = replica.ship()
    assert other.partition != refused.partition
    replica.shipper.delivered(other, 0.5)
    assert numbers(replica) == []


def test_where_the_log_takes_something_again_nobody_waits(lives: Callable[..., Replica]) -> None:
    replica = lives(in_flight=2)
    fill(replica, 3)
    first, second = replica.ship()
    replica.shipper.not_taken(first, 0.0)
    replica.shipper.delivered(second, 0.1)
    assert numbers(replica) == [1, 3]
    replica.shipper.not_taken(first, 1.0)
    replica.shipper.tick(1.0 + pauses.FIRST_SECONDS)
    assert numbers(replica) == [1], "and the next refusal is the first one again"
