"""What the cloud has deferred, and what goes out again, waits for rhythm, power and network as it did the first time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from driftlog_edge.errors import DiskFull
from driftlog_edge.outgoing.held import PAUSE_SECONDS
from driftlog_edge.ports import Sealed
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_moments import FIVE, HOUR, app, jot

SECOND_PAUSE = 3 * PAUSE_SECONDS


@pytest.fixture
def waiting_lives(lives: Callable[..., Replica]) -> Callable[..., Replica]:
    return partial(lives, contract=app.contract)


@pytest.fixture
def replica(waiting_lives: Callable[..., Replica]) -> Replica:
    return waiting_lives()


def sent(replica: Replica, now: float) -> list[Sealed]:
    replica.shipper.tick(now)
    batches = replica.ship()
    while replica.shipper.passing:  # a look at what stays
        batches += replica.ship()
    return batches


def named(replica: Replica, batches: list[Sealed]) -> list[str]:
    return [replica.views.command(lsn).id for batch in batches for lsn in batch.lsns]


def leave(replica: Replica, now: float) -> list[str]:
    """What goes out at this time, in order."""
    return named(replica, sent(replica, now))


def put_off(replica: Replica, now: float, batches: list[Sealed]) -> None:
    """The cloud defers all that is in them."""
    for batch in batches:
        replica.shipper.delivered(batch, now)
        space = batch.topic.removesuffix(".ops")
        known = replica.outbox.sealed.get(space, batch.partition, batch.number)
        assert known is not None
        writes = {
            **replica.outbox.sealed.settling(known, ()),
            **replica.outbox.queue.defer(space, batch.partition, batch.lsns),
        }
        replica.journal.stage(writes, sync=True)
        replica.commit()
        replica.shipper.answered(known.place)
        replica.shipper.deferred(space, batch.partition, now)


def held(replica: Replica, *places: str) -> None:
    """Commands on these, called like them, that were sent and put off at 0."""
    for place in places:
        jot(replica, place, place)
    replica.shipper.tick(0.0)
    replica.outbox.queue.moments.at_once()
    put_off(replica, 0.0, sent(replica, 0.0))
    assert len(replica.outbox.queue.held) == len(places)
    replica.shipper.tick(0.0)


def test_what_leaves_in_a_rhythm_is_tried_again_in_it(replica: Replica) -> None:
    held(replica, "tea", "meter/1", "summary/1")
    assert leave(replica, PAUSE_SECONDS) == ["tea"]
    assert leave(replica, FIVE - 1) == []
    meter = sent(replica, FIVE)
    assert named(replica, meter) == ["meter/1"]
    put_off(replica, FIVE, meter)
    assert leave(replica, FIVE + 1) == leave(replica, 2 * FIVE - 1) == [], "it was tried: it waits anew"
    assert leave(replica, 2 * FIVE + 1) == ["meter/1"]
    assert leave(replica, HOUR) == ["summary/1"]
    assert len(replica.outbox.queue) == 0


def test_what_is_written_behind_it_keeps_its_own_rhythm(replica: Replica) -> None:
    held(replica, "tea")
    jot(replica, "behind", "tea", "meter/1")
    jot(replica, "late", "meter/1")
    assert leave(replica, 0.0) == []
    assert leave(replica, PAUSE_SECONDS) == ["tea", "behind"]
    assert leave(replica, FIVE - 1) == []
    assert leave(replica, FIVE) == ["late"]


def test_without_wifi_what_needs_it_stays_with_what_stands_behind_it(replica: Replica) -> None:
    held(replica, "photo/1", "tea")
    jot(replica, "behind", "photo/1", "coffee")
    jot(replica, "behind that", "coffee")
    replica.shipper.allow(saving=False, metered=True)
    assert leave(replica, PAUSE_SECONDS) == ["tea"]
    assert leave(replica, HOUR) == []
    assert not replica.shipper.waiting and not replica.outbox.queue.held.rounds, "nobody looks in vain"
    replica.shipper.allow(saving=False, metered=False)
    assert leave(replica, HOUR + 1) == ["photo/1", "behind", "behind that"]


def test_on_a_low_battery_what_is_held_stays_until_something_urgent_stands_behind_it(replica: Replica) -> None:
    held(replica, "tea", "coffee")
    replica.shipper.allow(saving=True, metered=False)
    assert leave(replica, PAUSE_SECONDS) == leave(replica, HOUR) == []
    assert not replica.shipper.waiting
    jot(replica, "fire", "coffee", name="alarm")
    jot(replica, "after", "coffee")
    assert leave(replica, HOUR + 1) == ["tea", "coffee", "fire"]
    assert leave(replica, 2 * HOUR) == []
    replica.shipper.allow(saving=False, metered=False)
    assert leave(replica, 2 * HOUR + 1) == ["after"]


def test_a_reason_that_is_gone_lets_all_go_that_power_and_network_allow(replica: Replica) -> None:
    held(replica, "meter/1", "photo/1")
    replica.shipper.allow(saving=False, metered=True)
    replica.shipper.at_once(1.0)
    assert leave(replica, 1.0) == ["meter/1"]


def test_after_a_restart_what_was_held_has_waited_long_enough(waiting_lives: Callable[..., Replica]) -> None:
    held(waiting_lives(), "meter/1", "summary/1")
    assert leave(waiting_lives(), 0.0) == ["meter/1", "summary/1"]


def test_another_rhythm_ends_the_wait_for_the_one_before(replica: Replica) -> None:
    held(replica, "meter/1")
    assert leave(replica, PAUSE_SECONDS) == []
    replica.outbox.set_rhythms({"Meter": 0})
    assert leave(replica, PAUSE_SECONDS + 1) == ["meter/1"]


def test_what_could_not_be_sealed_is_tried_again_beside_what_stays(replica: Replica) -> None:
    held(replica, "photo/1", "tea")
    replica.shipper.allow(saving=False, metered=True)
    replica.shipper.tick(PAUSE_SECONDS)
    replica.store.full = True
    with pytest.raises(DiskFull):
        replica.ship()
    replica.store.full = False
    assert leave(replica, PAUSE_SECONDS + 1) + leave(replica, PAUSE_SECONDS + 2) == ["tea"]


def test_who_is_given_up_keeps_nobody_behind_it(replica: Replica) -> None:
    held(replica, "photo/1")
    jot(replica, "behind", "photo/1", "tea")
    replica.shipper.allow(saving=False, metered=True)
    assert leave(replica, PAUSE_SECONDS) == []
    lsn = replica.entry("photo/1").lsn
    replica.journal.stage(
        replica.outbox.queue.withdraw("field", replica.outbox.place("field", "s1")[1], lsn), sync=True
    )
    replica.commit()
    assert leave(replica, SECOND_PAUSE) == ["behind"], "it goes with the most urgent of its collections"


def test_a_batch_goes_again_only_where_power_and_network_allow_it(replica: Replica) -> None:
    jot(replica, "photo", "photo/1")
    first = sent(replica, 0.0)
    replica.shipper.allow(saving=False, metered=True)
    replica.shipper.resume()
    assert sent(replica, HOUR) == []
    assert not replica.shipper.waiting and replica.shipper.idle, "nothing stands still that could go"
    replica.shipper.allow(saving=False, metered=False)
    assert replica.shipper.waiting
    assert sent(replica, HOUR + 1) == first


def test_a_batch_goes_again_before_what_is_urgent(replica: Replica) -> None:
    jot(replica, "normal", "tea")
    first = sent(replica, 0.0)
    replica.shipper.allow(saving=True, metered=False)
    replica.shipper.resume()
    assert sent(replica, 1.0) == []
    jot(replica, "other", "coffee")
    assert sent(replica, 2.0) == []
    jot(replica, "fire", "coffee", name="alarm")
    again = sent(replica, 3.0)
    assert (again[:1], named(replica, again)) == (first, ["normal", "other", "fire"])


def test_a_batch_with_something_urgent_goes_again_on_a_low_battery(replica: Replica) -> None:
    jot(replica, "normal", "tea")
    first = sent(replica, 0.0)
    jot(replica, "fire", "coffee", name="alarm")
    second = sent(replica, 0.0)
    replica.shipper.delivered(second[0], 0.0)
    replica.shipper.allow(saving=True, metered=False)
    replica.shipper.failed(first[0])
    assert sent(replica, 1.0) == first, "the cloud takes nothing behind it before"


def test_what_was_sealed_before_a_restart_goes_again(waiting_lives: Callable[..., Replica]) -> None:
    before = waiting_lives()
    jot(before, "photo", "photo/1")
    first = sent(before, 0.0)
    after = waiting_lives()
    after.shipper.allow(saving=False, metered=True)
    assert [batch.value for batch in sent(after, 0.0)] == [batch.value for batch in first]
