"""A conflict that grows and grows is told now and then, at last as it stands, and costs bytes in proportion to its versions."""

from __future__ import annotations

from collections import deque

import pytest

from driftlog.document import MAX_MAX_BYTES
from driftlog_crdt import Place
from driftlog_schemas import groups, topics
from driftlog_schemas.messages import ConflictStatus, DocumentOp
from driftlog_streams.core import conflicts
from driftlog_streams.core.conflict_pace import MOST_SECONDS, NOTHING_OWED, ConflictPace
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import MAX_RECORD_BYTES
from driftlog_streams.core.store_mark import Positions
from driftlog_streams.faust_driver.mender import Mender
from tests.unit.streams.cloud import NOW_MS, Cloud, command
from tests.unit.streams.test_conflicts import PARCEL, Writers, values
from tests.unit.streams.test_mending import Space

CROWD = 400
CONFLICTS, STATES = topics.conflicts_topic("retail"), topics.state_topic("retail")


@pytest.fixture
def parcel() -> Writers:
    return Writers(Cloud(), PARCEL)


def label(parcel: Writers, number: int, text: str = "", *, actor: str = "", name: str = "") -> None:
    """An offline writer's only word, in a flight of its own."""
    cloud, replica = parcel.cloud, f"store-1.{number + 1}"
    value = ["left", text or f"{number:03}"]
    op = parcel.kind.prepare(parcel.unseen(), replica, (NOW_MS + number) << 16, "labels", "set", value)
    cloud.merge(command(name or f"c{number}", DocumentOp(PARCEL, op))._replace(actor=actor), replica=replica)
    cloud.fly()


def tell(cloud: Cloud, now: float) -> None:
    cloud.merger.tell(now)
    cloud.fly()


def sizes(cloud: Cloud) -> list[int]:
    return [len(r.value or b"") for r in cloud.published if r.topic == CONFLICTS]


def owed(cloud: Cloud) -> bool:
    """Does the newest state record say that a conflict is not told?"""
    newest = [r for r in cloud.published if r.topic == STATES][-1]
    return groups.parse(newest.headers).owed


@pytest.mark.slow
def test_a_crowd_in_flights_of_their_own_costs_a_few_times_what_its_versions_take(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(CROWD):
        label(parcel, number)
    tell(cloud, 0.0)
    assert len(cloud.conflicts()) == 8, "with 2, 4, 8 ... 256 versions"
    tell(cloud, MOST_SECONDS)
    told = cloud.conflicts()
    assert len(told[-1].versions) == CROWD
    assert sum(sizes(cloud)) < 3 * sizes(cloud)[-1]


@pytest.mark.slow
def test_a_crowd_that_comes_in_drops_costs_no_record_for_each(parcel: Writers) -> None:
    """One every two seconds, as edges come back after a cut; the owner looks as often."""
    for number in range(CROWD):
        label(parcel, number)
        tell(parcel.cloud, 2.0 * number)
    assert len(sizes(parcel.cloud)) < CROWD / 10
    assert sum(sizes(parcel.cloud)) < 12 * sizes(parcel.cloud)[-1]


def test_what_grew_is_told_when_its_pause_is_over(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(3):
        label(parcel, number)
    assert (len(cloud.conflicts()), cloud.merger.owes, owed(cloud)) == (1, True, True)
    for now in (5.0, 6.9):
        tell(cloud, now)
        assert cloud.merger.owes and len(cloud.conflicts()) == 1
    tell(cloud, 7.0)
    assert (values(cloud.conflicts()[-1]), cloud.merger.owes) == (["002", "001", "000"], False)
    tell(cloud, 1000.0)
    assert len(cloud.conflicts()) == 2
    parcel.write(1, parcel.seen(), "note", "set", "another field")
    cloud.fly()
    assert not owed(cloud)


def test_a_state_says_that_a_conflict_is_owed_until_it_is_told(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(3):
        label(parcel, number)
    parcel.write(1, parcel.seen(), "note", "set", "another field")
    cloud.fly()
    assert owed(cloud)
    label(parcel, 3)
    assert (len(cloud.conflicts()[-1].versions), owed(cloud)) == (4, False)


def test_an_end_is_told_at_once_with_all_versions_and_so_is_what_opens_again(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(3):
        label(parcel, number)
    before = parcel.seen()
    parcel.write(1, before, "labels", "set", ["left", "decided"])
    ended = parcel.newest()
    assert (ended.status, len(ended.versions), cloud.merger.owes) == (ConflictStatus.RESOLVED, 3, False)
    parcel.write(2, before, "labels", "set", ["left", "decided too"])
    opened = parcel.newest()
    assert (opened.status, values(opened)) == (ConflictStatus.OPEN, ["decided too", "decided"])


def test_what_ends_and_opens_within_a_flight_is_open_in_the_topic(parcel: Writers) -> None:
    for number in range(3):
        label(parcel, number)
    before = parcel.seen()
    parcel.write(1, before, "labels", "set", ["left", "decided"])
    parcel.write(2, before, "labels", "set", ["left", "decided too"])
    assert parcel.newest().status is ConflictStatus.OPEN


def test_what_is_over_before_it_is_due_is_owed_no_more(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(3):
        label(parcel, number)
    cloud.merger.tell(0.0)
    cloud.merger.tell(10.0)
    parcel.write(1, parcel.seen(), "labels", "remove", "left")
    assert parcel.newest().status is ConflictStatus.RESOLVED
    assert not cloud.merger.owes


def test_what_is_due_leaves_although_what_was_merged_is_taken_back(parcel: Writers) -> None:
    cloud = parcel.cloud
    for number in range(3):
        label(parcel, number)
    cloud.merger.tell(0.0)
    cloud.merger.tell(10.0)
    cloud.merger._at.take_back()
    cloud.fly()
    assert len(cloud.conflicts()[-1].versions) == 3


def test_a_store_stays_before_what_is_owed(parcel: Writers) -> None:
    """Its next life reads the state again that says so."""
    cloud = parcel.cloud
    mender = Mender(topics.SpaceTopics("retail"), Space(), quiet=lambda: True, mended=lambda count: None)
    mender.own({0: cloud.merger}, {0: Recovered()})
    places = dict.fromkeys((STATES, CONFLICTS, topics.receipts_topic("retail")), -1)
    settled: deque[Positions] = deque(maxlen=2)

    def leaves() -> None:
        (part,) = cloud.seal().partitions
        for topic, count in part.sent.items():
            places[topic] += count
        part.last = dict(places)
        mender.published(part, alone=True)
        cloud.carry_out()
        settled.append(mender.settled(0))

    for number in range(4):
        op = parcel.kind.prepare(
            parcel.unseen(), f"store-1.{number}", (NOW_MS + number) << 16, "labels", "set", ["left", f"{number}"]
        )
        cloud.merge(command(f"c{number}", DocumentOp(PARCEL, op)), replica=f"store-1.{number}")
        leaves()
        assert settled[-1].states == (1 if number == 2 else number), "before the third, until the fourth has told it"
    assert settled[-1].conflicts == 1


def test_of_too_many_conflicts_another_one_is_told_at_once() -> None:
    pace = ConflictPace(limit=2)
    spots = [(b"key%d" % number, Place("price", "")) for number in range(3)]
    for spot in spots[1:]:
        pace.left(pace.leaving({spot: 2}, (), frozenset(), ()))
    for versions, owes in ((3, [spots[1], spots[2]]), (3, [spots[1], spots[2]])):
        leaving = pace.leaving(dict.fromkeys(spots, versions), (), frozenset(), ())
        assert ([*leaving.told], [*leaving.owed]) == ([spots[0]], owes)
    owing = pace.left(leaving)
    assert (owing.since, len(pace)) == (owing.flight, 2)
    due = pace.due(0.0), pace.due(100.0)
    assert [sorted(found) for found in due] == [[spots[1]], [spots[1], spots[2]]], "the oldest was forgotten: at once"
    leaving = pace.leaving(dict.fromkeys(due[1], 0), dict.fromkeys(due[1]), frozenset(), ())
    assert pace.left(leaving).since == NOTHING_OWED.since


def test_the_longest_names_of_many_writers_fit_into_a_record(parcel: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names count as values do: then fewer versions are shown, and all are counted."""
    monkeypatch.setattr(conflicts, "MAX_BYTES", 20_000)
    for number in range(100):
        label(parcel, number, f"{number:040}", name=f"{number:0128}", actor="\u00e9" * 64)
    tell(parcel.cloud, 0.0)
    tell(parcel.cloud, MOST_SECONDS)
    found = parcel.cloud.conflicts()[-1]
    assert len(found.versions) + found.omitted == 100 and found.omitted > 0
    assert sizes(parcel.cloud)[-1] < 20_000 + 400


def test_what_a_record_holds_at_most_is_under_the_limit() -> None:
    """Two versions, or so many, and what ends it: each has passed the largest size guard that may be declared."""
    assert MAX_MAX_BYTES + max(MAX_MAX_BYTES, conflicts.MAX_BYTES) < MAX_RECORD_BYTES - 4096
