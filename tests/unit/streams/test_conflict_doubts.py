"""A conflict record that names writes which are not here is closed when nobody can have them, and not before; history is left alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from driftlog_crdt import Place
from driftlog_schemas import topics
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflict_doubts
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.conflict_doubts import Doubts
from driftlog_streams.core.conflicts import survivor
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.faust_driver import mender
from tests.unit.streams.cloud import Cloud, change, command, stock
from tests.unit.streams.test_forgotten_recovery import Kept
from tests.unit.streams.test_mending import CONFLICTS, Space, fought_over, mender_of
from tests.unit.streams.test_settling import LATE_MS

DECIDED = {"store-1.1": 1, "store-2.1": 1}


def phantom(cloud: Cloud, like: Conflict, sku: str = "nowhere", **versions: object) -> Conflict:
    """The same of another document, which nobody has written; by nobody, unless told otherwise."""
    document = stock(sku)
    said = {"replica": "nobody.1", **versions}
    forged = tuple(replace(version, **said) for version in like.versions)
    return replace(like, id=conflict_id(document, like.field), document=document, versions=forged)


def encoded(cloud: Cloud, *found: Conflict) -> list[tuple[bytes, bytes]]:
    return [(one.id.encode(), cloud.rules.records.encode_conflict(one)) for one in found]


def told(cloud: Cloud) -> list[tuple[bytes, bytes | None]]:
    cloud.fly()
    topic = topics.conflicts_topic("retail")
    return [(record.key, record.value) for record in cloud.published if record.topic == topic]


@pytest.mark.parametrize("status", ConflictStatus)
def test_a_conflict_that_somebody_has_invented_is_closed_and_only_after_a_doubt(
    cloud: Cloud, status: ConflictStatus
) -> None:
    fought_over(cloud, over=False)
    ((name, value),) = encoded(cloud, replace(phantom(cloud, cloud.conflicts()[0]), status=status))
    answers = cloud.merger.answers
    assert not answers.heard_conflict(name, value) and answers.doubts_conflict(name, value)
    assert name not in dict(told(cloud))
    assert answers.close_conflict(name, value)
    assert told(cloud)[-1] == (name, None)


@pytest.mark.parametrize("replica", ["nobody.1", "store-1.1"])
@pytest.mark.parametrize("status", ConflictStatus)
def test_how_one_ended_is_told_over_what_is_invented_of_it(cloud: Cloud, status: ConflictStatus, replica: str) -> None:
    _, resolved = fought_over(cloud, over=True)
    found = cloud.conflicts()[0]
    unseen = replace(found.versions[0], replica=replica, seq=9, append_ms=1 << 45)
    ((name, value),) = encoded(cloud, replace(found, versions=(unseen, found.versions[1]), status=status))
    assert not cloud.merger.answers.heard_conflict(name, value)
    assert cloud.merger.answers.doubts_conflict(name, value)
    assert cloud.merger.answers.close_conflict(name, value)
    assert told(cloud)[-1] == (name, resolved)


def test_one_that_names_a_write_which_somebody_makes_later_is_judged_by_it(cloud: Cloud) -> None:
    """Whoever guesses the next dot is not left alone because it is there when the doubt ends."""
    fought_over(cloud, over=True)
    forgotten(cloud)
    found = cloud.conflicts()[0]
    unseen = replace(found.versions[0], replica="store-1.1", seq=3)
    ((name, value),) = encoded(cloud, replace(found, versions=(unseen, found.versions[1])))
    assert cloud.merger.answers.doubts_conflict(name, value)
    later = command("d", change(stock(), "price", "set", 6, 3, context={"store-1.1": 2, "store-2.1": 1}))
    cloud.merge_value(cloud.batch(later, read=cloud.end - 1))
    assert cloud.merger.answers.close_conflict(name, value)
    told(cloud)
    last = cloud.conflicts()[-1]
    assert last.status is ConflictStatus.RESOLVED and last.decided_by is not None and last.decided_by.value == 6


def test_one_of_somebody_who_was_further_is_true_when_we_are_as_far(cloud: Cloud) -> None:
    (opened,) = fought_over(Cloud(), over=False)
    cloud.merge(command("a", change(stock(), "price", "set", 3, 1)))
    cloud.fly()
    name = conflict_id(stock(), "price").encode()
    assert cloud.merger.answers.doubts_conflict(name, opened)
    cloud.merge(command("b", change(stock(), "price", "set", 4, 1, replica="store-2.1")), replica="store-2.1")
    assert not cloud.merger.answers.close_conflict(name, opened)
    assert told(cloud) == [(name, opened)]


def test_what_is_true_is_not_doubted(cloud: Cloud) -> None:
    fought_over(cloud, over=True)
    cloud.merge(command("x", change(stock("rye"), "price", "set", 3, 1)))
    cloud.merge(command("y", change(stock("rye"), "price", "set", 4, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    cloud.settle(*cloud.overdue(LATE_MS), append_ms=LATE_MS)
    told(cloud)
    assert {one.status for one in cloud.conflicts()} == set(ConflictStatus) - {ConflictStatus.RECORDED}
    for remembered in (True, False):
        if not remembered:
            forgotten(cloud)
        for name, value in encoded(cloud, *cloud.conflicts()):
            assert not cloud.merger.answers.doubts_conflict(name, value)


def forgotten(cloud: Cloud) -> None:
    """The partition forgets how conflicts ended."""
    cloud.forget(cloud.end)
    cloud.fly()
    cloud.ends.clear()


# -- writes that are there, and never competed


def lie(cloud: Cloud, status: ConflictStatus) -> Conflict:
    """The price of a document was set three times, each by somebody who had seen the time before. Somebody says that the first two competed."""
    told_of = fought_over(cloud, over=True) and cloud.conflicts()[-1]
    assert told_of
    for seq in (1, 2, 3):
        context = {"store-1.1": seq - 1} if seq > 1 else {}
        cloud.merge(command(f"oat{seq}", change(stock("oat"), "price", "set", seq, seq, context=context)))
    document = stock("oat")
    first, second = (
        replace(told_of.versions[0], replica="store-1.1", seq=seq, value=seq, append_ms=1 << 45) for seq in (1, 2)
    )
    third = survivor(cloud.rules.collections["Stock"], cloud.state(document), Place("price", ""))
    return replace(
        told_of,
        id=conflict_id(document, "price"),
        document=document,
        versions=(first, second),
        status=status,
        decided_by=third if status.over else None,
    )


@pytest.mark.parametrize("status", ConflictStatus)
def test_a_conflict_of_writes_that_never_competed_is_closed_by_its_owner(cloud: Cloud, status: ConflictStatus) -> None:
    ((name, value),) = encoded(cloud, lie(cloud, status))
    answers = cloud.merger.answers
    assert not answers.heard_conflict(name, value) and answers.doubts_conflict(name, value)
    assert answers.close_conflict(name, value)
    assert told(cloud)[-1] == (name, None)


@pytest.mark.parametrize("status", ConflictStatus)
def test_who_invents_a_later_end_of_writes_that_are_there_does_not_change_how_it_ended(
    cloud: Cloud, status: ConflictStatus
) -> None:
    """It had been decided; a plain write of later is called the decision, or open again."""
    _, resolved = fought_over(cloud, over=True)
    ended = cloud.conflicts()[-1]
    cloud.merge(command("d", change(stock(), "price", "set", 6, 3, context={"store-1.1": 2, "store-2.1": 1})))
    assert ended.decided_by is not None
    plain = replace(ended.decided_by, seq=3, value=6, append_ms=1 << 45, actor="somebody else")
    forged = replace(ended, status=status, decided_by=plain if status.over else None, versions=(plain, *ended.versions))
    ((name, value),) = encoded(cloud, forged)
    assert cloud.merger.answers.heard_conflict(name, value)
    assert told(cloud)[-1] == (name, resolved)


def test_what_somebody_published_while_the_partition_was_taken_over_may_have_ended_conflicts(cloud: Cloud) -> None:
    """Its record comes behind what was read."""
    found = lie(cloud, ConflictStatus.RESOLVED)
    ((name, value),) = encoded(cloud, found)
    cloud.merger.answers.late = {document_key(found.document)}
    assert not cloud.merger.answers.heard_conflict(name, value)
    assert not cloud.merger.answers.doubts_conflict(name, value)


@pytest.mark.parametrize("remembers", [True, False])
def test_of_a_write_that_stands_nobody_says_another_thing(cloud: Cloud, remembers: bool) -> None:
    """Also where the next owner is told of it, or ends may be forgotten."""
    found = lie(cloud, ConflictStatus.RESOLVED)
    assert found.decided_by is not None
    forged = replace(found, decided_by=replace(found.decided_by, value=99, actor="the boss"))
    ((name, value),) = encoded(cloud, forged)
    cloud.fly()
    if not remembers:
        forgotten(cloud)
        assert cloud.merger.answers.heard_conflict(name, value)
        assert told(cloud)[-1] == (name, encoded(cloud, found)[0][1])
    store, recovered = Kept(), Recovered()
    store.rows, store.states = cloud.rows, dict(cloud.store)
    Restoration(cloud.rules).take_conflicts(store, recovered, [ChangelogRecord(name, value, 7, ())])
    assert recovered.stale_conflicts == {name: (7, value)}
    assert store.ended(name) == encoded(cloud, found)[0][1]


def test_where_ends_may_be_forgotten_history_is_left(cloud: Cloud) -> None:
    ((name, value),) = encoded(cloud, lie(cloud, ConflictStatus.RESOLVED))
    forgotten(cloud)
    assert not cloud.merger.answers.heard_conflict(name, value)
    assert not cloud.merger.answers.doubts_conflict(name, value)


@pytest.fixture
def purged(cloud: Cloud) -> list[Conflict]:
    """What was told of a document that went, and of which nothing is known any more: a conflict that was resolved, and one that was settled."""
    told_of = []
    for sku in ("tea", "rye"):
        seen = {"store-1.1": 1, "store-2.1": 1}
        cloud.merge(command(f"a{sku}", change(stock(sku), "price", "set", 3, 1)))
        op = change(stock(sku), "price", "set", 4, 1, replica="store-2.1")
        cloud.merge(command(f"b{sku}", op), replica="store-2.1")
        cloud.fly()
        if sku == "tea":
            cloud.merge(command("c", change(stock(), "price", "set", 5, 2, context=seen)))
        else:
            cloud.settle(*cloud.overdue(LATE_MS), append_ms=LATE_MS)
        cloud.fly()
        everything = dict(cloud.state(stock(sku)).vector)
        gone = change(stock(sku), "", "delete", None, everything["store-1.1"] + 1, context=everything)
        cloud.merge(command(f"gone{sku}", gone))
        cloud.fly()
        told_of.append({one.id: one for one in cloud.conflicts()}[conflict_id(stock(sku), "price")])
    cloud.merge_value(None)
    cloud.forget(cloud.end - 1, stock("tea"), stock("rye"))
    cloud.fly()
    assert not cloud.store[b"Stock/s1/tea"] and not cloud.store[b"Stock/s1/rye"]
    cloud.ends.clear()
    return told_of


@pytest.mark.parametrize("anew", [False, True], ids=["gone", "begun anew"])
def test_history_of_what_was_purged_is_left_and_an_open_record_of_it_is_closed(
    cloud: Cloud, purged: list[Conflict], anew: bool
) -> None:
    if anew:
        op = change(stock(), "name", "set", "anew", 1, replica="store-1.2")
        cloud.merge_value(cloud.batch(command("anew", op), replica="store-1.2", read=cloud.end - 1))
        assert cloud.state(stock()).vector
    assert [one.status for one in purged] == [ConflictStatus.RESOLVED, ConflictStatus.SETTLED]
    for name, value in encoded(cloud, *purged):
        assert not cloud.merger.answers.heard_conflict(name, value)
        assert not cloud.merger.answers.doubts_conflict(name, value)
    for name, value in encoded(cloud, *(replace(one, status=ConflictStatus.OPEN) for one in purged)):
        assert cloud.merger.answers.doubts_conflict(name, value)
        assert cloud.merger.answers.close_conflict(name, value)
        assert told(cloud)[-1] == (name, None)


def test_what_another_release_declares_is_left_to_it(cloud: Cloud) -> None:
    fought_over(cloud, over=False)
    found = phantom(cloud, cloud.conflicts()[0])
    other = found.document._replace(collection="Unheard")
    for one in (
        replace(found, document=other, id=conflict_id(other, found.field)),
        replace(found, field="unheard", id=conflict_id(found.document, "unheard")),
    ):
        ((name, value),) = encoded(cloud, one)
        assert not cloud.merger.answers.doubts_conflict(name, value)


# -- recovery


def test_recovery_doubts_the_last_record_of_a_name_and_the_mark_stays_before_it(cloud: Cloud) -> None:
    fought_over(cloud, over=True)
    forged = encoded(cloud, *(phantom(cloud, cloud.conflicts()[0], sku) for sku in ("one", "two", "three")))
    store, recovered, restoring = Kept(), Recovered(), Restoration(cloud.rules)
    store.rows, store.states = cloud.rows, dict(cloud.store)
    restoring.take_conflicts(store, recovered, [ChangelogRecord(*word, 3 + at, ()) for at, word in enumerate(forged)])
    assert recovered.doubted == {name: 3 + at for at, (name, _) in enumerate(forged)}
    assert not recovered.answers and recovered.settled.conflicts == store.mark.conflicts == 2
    restoring.take_conflicts(store, recovered, [ChangelogRecord(forged[0][0], None, 9, ())])
    assert recovered.settled.conflicts == store.mark.conflicts == 3


def test_recovery_keeps_no_more_doubts_than_have_room_and_says_where_to_go_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_streams.core.recovered.MAX_DOUBTED", 2)
    fought_over(cloud, over=True)
    forged = encoded(cloud, *(phantom(cloud, cloud.conflicts()[0], f"s{at}") for at in range(4)))
    store, recovered = Kept(), Recovered()
    store.rows, store.states = cloud.rows, dict(cloud.store)
    Restoration(cloud.rules).take_conflicts(
        store, recovered, [ChangelogRecord(*word, 3 + at, ()) for at, word in enumerate(forged)]
    )
    assert len(recovered.doubted) == 2 and recovered.undoubted == 5
    restored = [ChangelogRecord(name, None, 10 + at, ()) for at, (name, _) in enumerate(forged[:2])]
    Restoration(cloud.rules).take_conflicts(store, recovered, restored)
    assert recovered.settled.conflicts == store.mark.conflicts == 4, "the others are looked at again"


# -- what is kept of them


def test_what_is_read_after_the_end_was_asked_for_waits_for_the_next_one() -> None:
    doubts = Doubts()
    doubts.read(0, [b"a"], {b"a": 5})
    doubts.ask(0, 10)
    doubts.read(0, [b"b"], {b"b": 7})
    assert doubts.due(0, 8) == [] and doubts.due(0, 9) == [5]
    assert doubts.take(0, range(5, 8)) == {5} and doubts.due(0, 9) == []
    assert doubts.waiting() == [0] and doubts.unasked(0) and doubts.start(0) == 7
    doubts.ask(0, 12)
    assert doubts.take(0, range(7, 8)) == {7} and doubts.waiting() == [] and doubts.start(0) is None


def test_who_writes_over_a_doubted_record_takes_the_doubt_away() -> None:
    doubts = Doubts()
    doubts.read(0, [b"a", b"b"], {b"a": 5, b"b": 6})
    doubts.ask(0, 10)
    doubts.read(0, [b"a"], {})
    assert doubts.due(0, 9) == [6] and doubts.start(0) == 6
    doubts.read(0, [b"b"], {})
    assert doubts.waiting() == []


def test_there_is_an_end_to_what_is_doubted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_doubts, "MAX_DOUBTED", 2)
    doubts = Doubts()
    doubts.read(0, [b"a"], {b"a": 5})
    assert not doubts.full(0)
    doubts.read(0, [b"b"], {b"b": 6})
    assert doubts.full(0) and not doubts.full(1)
    doubts.ask(0, 3)
    assert not doubts.full(0)


# -- the mender


async def test_the_mender_reads_no_more_than_it_can_doubt_and_its_mark_stays_before_them(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflict_doubts, "MAX_DOUBTED", 4)
    monkeypatch.setattr(mender, "AT_ONCE", 3)
    fought_over(cloud, over=True)
    words = encoded(cloud, *(phantom(cloud, cloud.conflicts()[0], f"s{at}") for at in range(20)))
    space = Space()
    space.found = [ChangelogRecord(*word, 5 + at, ()) for at, word in enumerate(words)]
    mending = mender_of(cloud, space, 0, [])
    mending._watches[CONFLICTS].own(0, 5)
    mending._watches[CONFLICTS].ended(0, 25)
    await mending._read()
    assert space.read == [range(5, 8), range(8, 11)] and mending.settled(0).conflicts == 4

    await mending._close_doubted()  # the op log goes on to 100, and we have merged three
    await mending._read()
    assert space.read == [range(5, 8), range(8, 11), range(11, 14), range(14, 17)]
    await mending._read()
    assert len(space.read) == 4 and mending.settled(0).conflicts == 4
    assert not told(cloud)[2:]

    cloud.merger._at.reach(99)
    await mending._close_doubted()
    assert told(cloud)[2:] == [(name, None) for name, _ in words[:6]]
    assert mending._doubts.start(0) == 11


async def test_who_is_dealt_other_partitions_meanwhile_closes_nothing(cloud: Cloud) -> None:
    fought_over(cloud, over=True)
    ((name, value),) = encoded(cloud, phantom(cloud, cloud.conflicts()[0]))

    class Dealing(Space):
        def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
            mending.forget()
            return super().ends(places)

    space = Dealing()
    space.found, space.ops_end = [ChangelogRecord(name, value, 5, ())], 1
    mending = mender_of(cloud, space, 0, [])
    mending._look_at(CONFLICTS, 0, _unread(mending), space.found)
    assert mending._doubts.waiting() == [0]
    await mending._close_doubted()
    assert len(told(cloud)) == 2 and not space.read


def _unread(mending: mender.Mender) -> range:
    mending._watches[CONFLICTS].own(0, 5)
    mending._watches[CONFLICTS].ended(0, 6)
    return range(5, 6)
