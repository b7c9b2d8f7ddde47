"""Commands that wait for the moment of their collection, for a network that costs nothing, or for power; and who takes whom along."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from driftlog import App, Counter, Document, Transaction
from driftlog_edge.asking.waiting import Waiting, WaitsFor
from driftlog_edge.errors import DiskFull
from driftlog_edge.outgoing.outbox import SEALED_OPS
from tests.unit.edge.replica import Replica

FIVE, HOUR = 300.0, 3600.0

app = App("field")
field = app.space("field", partitions=4)


@field.collection(scope="store", id="id")
class Note(Document):
    store: str
    id: str
    count: Counter


@field.collection(scope="store", id="id", sync="5m")
class Meter(Document):
    store: str
    id: str
    count: Counter


@field.collection(scope="store", id="id", sync="1h")
class Summary(Document):
    store: str
    id: str
    count: Counter


@field.collection(scope="store", id="id", sync="on_wifi")
class Photo(Document):
    store: str
    id: str
    count: Counter


KINDS: dict[str, type[Note | Meter | Summary | Photo]] = {
    "": Note,
    "meter": Meter,
    "summary": Summary,
    "photo": Photo,
}


def jot_in(tx: Transaction, store: str, places: list[str]) -> None:
    """Count one more in each of these documents: `meter/a`, or a note."""
    for place in places:
        kind, _, id = place.rpartition("/")
        tx.edit(KINDS[kind], store, id).count.increment()


for name, priority in (("jot", "normal"), ("doodle", "low"), ("call", "high"), ("alarm", "critical")):
    field.command(name=name, priority=priority)(jot_in)


@pytest.fixture
def waiting_lives(lives: Callable[..., Replica]) -> Callable[..., Replica]:
    return partial(lives, contract=app.contract)


@pytest.fixture
def replica(waiting_lives: Callable[..., Replica]) -> Replica:
    return waiting_lives()


def jot(replica: Replica, id: str, *places: str, name: str = "jot") -> None:
    replica.do(name, id, store="s1", places=list(places))


def leave(replica: Replica, now: float) -> list[str]:
    """What goes out at this time, in order."""
    replica.shipper.tick(now)
    return [replica.views.command(lsn).id for batch in replica.ship() for lsn in batch.lsns]


def test_what_waits_goes_together_at_its_moment_and_no_later(replica: Replica) -> None:
    jot(replica, "a", "meter/1")
    assert leave(replica, 0.0) == []
    jot(replica, "b", "meter/2")
    jot(replica, "now", "tea")
    assert leave(replica, FIVE - 1) == ["now"]
    assert leave(replica, FIVE) == ["a", "b"]

    jot(replica, "c", "meter/1")
    assert leave(replica, FIVE + 1) == []
    assert leave(replica, 2 * FIVE) == []  # the time to the next moment begins with the first that waits for it
    assert leave(replica, 2 * FIVE + 1) == ["c"]


def test_what_comes_while_the_rest_still_leaves_waits_for_the_next_moment(replica: Replica) -> None:
    for number in range(3):
        replica.do("jot", f"a{number}", store="s1", places=[f"meter/{number}-{n}" for n in range(SEALED_OPS)])
    leave(replica, 0.0)
    replica.shipper.tick(FIVE)
    first = replica.ship(limit=1)
    jot(replica, "late", "meter/late")
    rest = leave(replica, FIVE + 1)
    assert [replica.views.command(lsn).id for batch in first for lsn in batch.lsns] + rest == ["a0", "a1", "a2"]
    assert replica.outbox.queue.ready is False
    assert leave(replica, 2 * FIVE + 1) == ["late"]


def test_urgent_ones_leave_at_once_and_take_along_what_must_go_before_them(replica: Replica) -> None:
    jot(replica, "a", "meter/1", "photo/1")
    jot(replica, "b", "photo/1")
    jot(replica, "c", "meter/2")
    jot(replica, "d", "photo/2", "summary/1")
    leave(replica, 0.0)
    jot(replica, "fire", "photo/1", name="alarm")
    assert leave(replica, 1.0) == ["a", "b", "fire"]
    assert leave(replica, FIVE) == ["c"]
    assert leave(replica, HOUR) == ["d"]


def test_a_command_goes_with_the_most_urgent_of_its_collections(replica: Replica) -> None:
    replica.outbox.queue.moments.metered = True
    jot(replica, "photo", "photo/1")
    jot(replica, "both", "photo/1", "summary/1")
    jot(replica, "three", "summary/1", "meter/1", "tea")
    assert leave(replica, 0.0) == ["photo", "both", "three"]

    jot(replica, "x", "summary/1")
    jot(replica, "y", "summary/1", "meter/2")
    assert leave(replica, 1.0) == []
    assert leave(replica, 1.0 + FIVE) == ["x", "y"]


def test_the_moment_of_one_rhythm_lets_nothing_overtake_what_waits_in_another(replica: Replica) -> None:
    jot(replica, "old", "summary/other")
    leave(replica, 0.0)
    leave(replica, HOUR - 60)
    jot(replica, "first", "meter/1", "summary/1")
    jot(replica, "second", "summary/1")  # its hour would be over in a minute, and the five minutes of the first are not
    leave(replica, HOUR - 50)
    assert leave(replica, HOUR) == ["old"]
    assert leave(replica, HOUR - 50 + FIVE) == ["first", "second"]


def test_low_ones_wait_as_long_and_go_last(replica: Replica) -> None:
    jot(replica, "low", "meter/1", name="doodle")
    jot(replica, "normal", "meter/2")
    leave(replica, 0.0)
    assert leave(replica, FIVE) == ["normal", "low"]


def test_without_wifi_only_what_needs_it_waits(replica: Replica) -> None:
    moments = replica.outbox.queue.moments
    moments.metered = True
    jot(replica, "photo", "photo/1")
    jot(replica, "now", "tea")
    assert leave(replica, 0.0) == ["now"]
    assert leave(replica, 10 * HOUR) == []
    moments.metered = False
    assert leave(replica, 10 * HOUR) == ["photo"]


def test_on_a_low_battery_only_urgent_ones_leave(replica: Replica) -> None:
    moments = replica.outbox.queue.moments
    moments.saving = True
    jot(replica, "normal", "tea")
    jot(replica, "low", "tea", name="doodle")
    jot(replica, "meter", "meter/1")
    jot(replica, "other", "coffee")
    jot(replica, "high", "tea", name="call")
    jot(replica, "fire", "meter/2", name="alarm")
    assert leave(replica, 0.0) == ["fire", "normal", "low", "high"]
    assert leave(replica, FIVE) == []
    moments.saving = False
    assert leave(replica, FIVE) == ["other", "meter"]


def test_whoever_asks_is_told_what_a_command_waits_for_and_until_when(replica: Replica) -> None:
    clock, waiting = replica.clock, Waiting(replica.outbox, replica.journal, replica.clock)
    moments = replica.outbox.queue.moments
    moments.metered = True
    for place in ("tea", "meter/1", "meter/2", "photo/1"):
        jot(replica, place, place)

    def told(place: str) -> WaitsFor:
        entry = replica.entry(place)
        document = replica.views.command(entry.lsn).ops[0][0]
        return waiting.of(entry.lsn, entry.status, document)

    assert leave(replica, clock.monotonic()) == ["tea"]
    at = clock.wall_ms()
    clock.pass_seconds(100)
    assert [told(place) for place in ("tea", "meter/1", "photo/1")] == [
        WaitsFor(),
        WaitsFor("5m", at + 300_000),
        WaitsFor("wifi"),
    ]
    assert waiting.all() == [(WaitsFor("5m", at + 300_000), 2), (WaitsFor("wifi"), 1)]
    moments.saving = True
    assert told("meter/1") == WaitsFor("power")
    assert waiting.all() == [(WaitsFor("power"), 3)]
    moments.saving = moments.metered = False
    clock.pass_seconds(200)
    replica.shipper.tick(clock.monotonic())
    assert (told("meter/1"), waiting.all()) == (WaitsFor(), [])


def test_after_a_restart_nobody_waits_again(waiting_lives: Callable[..., Replica]) -> None:
    before = waiting_lives()
    jot(before, "a", "meter/1")
    assert leave(before, 0.0) == []
    after = waiting_lives()
    assert leave(after, 0.0) == ["a"]
    jot(after, "b", "meter/1")
    assert leave(after, 1.0) == []


def test_what_a_failed_write_takes_back_waits_as_before(replica: Replica) -> None:
    jot(replica, "a", "meter/1", "photo/1")
    leave(replica, 0.0)
    replica.store.full = True
    with pytest.raises(DiskFull):
        jot(replica, "fire", "meter/1", name="alarm")
    replica.store.full = False
    assert leave(replica, 1.0) == []
    jot(replica, "photo", "photo/1")  # network or not: it stands behind the first one
    assert leave(replica, 2.0) == []
    assert leave(replica, FIVE) == ["a", "photo"]


def test_another_rhythm_is_for_what_comes_and_what_waits_for_one_that_is_gone_leaves(replica: Replica) -> None:
    jot(replica, "a", "meter/1")
    jot(replica, "hour", "summary/1")
    leave(replica, 0.0)
    replica.outbox.set_rhythms({"Meter": 10, "Note": 20})
    assert leave(replica, 1.0) == ["a"]
    jot(replica, "b", "meter/1")
    jot(replica, "c", "tea")
    leave(replica, 2.0)
    assert leave(replica, 12.0) == ["b"]
    assert leave(replica, 22.0) == ["c"]
    replica.outbox.set_rhythms({})
    assert leave(replica, HOUR) == ["hour"]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_no_command_overtakes_another_on_a_document_and_none_is_forgotten(
    waiting_lives: Callable[..., Replica], seed: int
) -> None:
    """By chance: writes of all kinds, time, power, network, restarts."""
    draw, replica, now = random.Random(seed), waiting_lives(in_flight=1000), 0.0
    places = ["tea", "meter/1", "meter/2", "summary/1", "photo/1", "photo/2"]
    written: dict[str, list[str]] = {place: [] for place in places}
    left: list[str] = []
    touched: dict[str, list[str]] = {}
    for number in range(120):
        moments = replica.outbox.queue.moments
        what = draw.random()
        if what < 0.7:
            id, chosen = f"c{number}", draw.sample(places, draw.choice((1, 1, 2, 3)))
            jot(replica, id, *chosen, name=draw.choices(("jot", "doodle", "alarm"), (20, 5, 2))[0])
            touched[id] = chosen
            for place in chosen:
                written[place].append(id)
        elif what < 0.9:
            now += draw.choice((1.0, 60.0, FIVE, HOUR))
            left += leave(replica, now)
        elif what < 0.98:
            moments.saving, moments.metered = draw.random() < 0.3, draw.random() < 0.5
        else:
            replica = waiting_lives(in_flight=1000)
            now = 0.0
            for batch in replica.ship():  # what was sealed goes again
                left += [id for lsn in batch.lsns if (id := replica.views.command(lsn).id) not in left]
    replica.outbox.queue.moments.saving = replica.outbox.queue.moments.metered = False
    left += [id for at in (now, now + 2 * HOUR) for id in leave(replica, at) if id not in left]

    assert sorted(left) == sorted(touched)
    for place, ids in written.items():
        assert [id for id in left if place in touched[id]] == ids
    assert len(replica.outbox.queue) == 0
