"""Somebody else writes into a partition that we own: it is noticed, and our word is the last again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from driftlog_crdt import DocumentState, Op, Place
from driftlog_schemas import groups, topics
from driftlog_schemas.framing import header
from driftlog_schemas.messages import ConflictStatus
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.changelog_watch import ChangelogWatch
from driftlog_streams.core.flight import Stage
from driftlog_streams.core.open_groups import OpenGroups, Tail
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.store_mark import Positions
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver import mender as mending
from driftlog_streams.faust_driver.mender import Mender
from tests.unit.streams.cloud import Cloud, change, command, count, key, ledger, stock

STATES, RECEIPTS = topics.state_topic("retail"), topics.receipts_topic("retail")
CONFLICTS, PARKED = topics.conflicts_topic("retail"), topics.parked_topic("retail")
FAR = 1000
"""As far as nobody has merged."""


@pytest.fixture
def watch() -> ChangelogWatch:
    made = ChangelogWatch()
    made.own(0, 10)
    return made


def test_our_own_records_are_no_news(watch: ChangelogWatch) -> None:
    watch.published(0, 3, 12)
    watch.published(0, 1, 13)
    watch.ended(0, 14)
    assert not watch.unread and watch.looked_at(0) == 14


def test_a_stranger_among_ours_has_the_range_read_again(watch: ChangelogWatch) -> None:
    watch.published(0, 2, 12)
    watch.published(0, 1, 13)
    assert watch.unread == {0: range(10, 13)} and watch.looked_at(0) == 10
    watch.read(0, range(10, 12))
    assert watch.unread == {0: range(12, 13)} and watch.looked_at(0) == 12
    watch.read(0, range(12, 13))
    assert not watch.unread and watch.looked_at(0) == 14


def test_a_stranger_after_ours_is_seen_at_rest(watch: ChangelogWatch) -> None:
    watch.published(0, 1, 10)
    assert watch.behind(0, 13)
    watch.ended(0, 13)
    assert watch.unread == {0: range(11, 13)} and not watch.behind(0, 13)
    watch.ended(0, 13)
    assert watch.unread == {0: range(11, 13)}


def test_where_later_flights_may_stand_before_ours_all_are_counted_together(watch: ChangelogWatch) -> None:
    watch.published(0, 2, 13, whole=False)
    assert watch.looked_at(0) == 10 and not watch.unread
    watch.published(0, 2, 12)
    assert watch.looked_at(0) == 14 and not watch.unread
    watch.published(0, 1, 15, whole=False)
    watch.ended(0, 16)
    assert watch.unread == {0: range(14, 16)}


def test_what_is_not_owned_is_not_watched(watch: ChangelogWatch) -> None:
    watch.ended(7, 100)
    watch.forget()
    watch.ended(0, 100)
    assert not watch.unread


def two_states(cloud: Cloud) -> tuple[bytes, bytes]:
    """An older and the present state record of the same document."""
    for seq in (1, 2):
        cloud.merge(command(f"c{seq}", count(stock(), 5, seq)))
        cloud.fly()
    older, newer = [r.value for r in cloud.published if r.topic == STATES]
    assert older is not None and newer is not None
    return older, newer


def test_an_older_state_is_answered_with_ours(cloud: Cloud) -> None:
    older, newer = two_states(cloud)
    cloud.merger.answers.heard(key(stock()), older, 0)
    cloud.fly()
    last = [r for r in cloud.published if r.topic == STATES][-1]
    assert (last.key, last.value) == (key(stock()), newer)
    assert dict(last.headers)["driftlog.last"] == b"1"


def test_what_has_seen_all_of_ours_is_left_alone(cloud: Cloud) -> None:
    _, newer = two_states(cloud)
    cloud.merger.answers.heard(key(stock()), newer, 0)
    assert cloud.merger.work.empty


@pytest.mark.parametrize("value", [None, b"", b"\x00noise"])
def test_a_tombstone_or_noise_over_ours_is_answered_too(cloud: Cloud, value: bytes | None) -> None:
    _, newer = two_states(cloud)
    cloud.merger.answers.heard(key(stock()), value, 0)
    cloud.fly()
    assert [r for r in cloud.published if r.topic == STATES][-1].value == newer


def test_records_of_nothing_we_know_are_passed_over(cloud: Cloud) -> None:
    two_states(cloud)
    for strange in (b"no document", b"Gone/s1/tea", key(stock("never seen"))):
        cloud.merger.answers.heard(strange, None, 0)
    assert cloud.merger.work.empty


def test_a_row_that_knows_less_is_answered_with_ours(cloud: Cloud) -> None:
    for seq in (1, 2):
        cloud.merge(command(f"c{seq}", count(stock(), 5, seq)))
        cloud.fly()
    older, newer = [r.value for r in cloud.published if r.topic == RECEIPTS]
    assert not cloud.merger.answers.heard_row(b"store-1.1", newer) and not cloud.merger.answers.heard_row(
        b"store-1", b"a refusal"
    )
    assert cloud.merger.answers.heard_row(b"store-1.1", older)
    cloud.fly()
    assert [r.value for r in cloud.published if r.topic == RECEIPTS][-1] == newer


def lie(cloud: Cloud, **other: Any) -> bytes:
    """The row of store-1.1 as the cloud has it, with something else in it."""
    return cloud.rules.records.encode_chain_row(replace(cloud.row(), **other))


def test_an_answer_with_our_row_leaves_although_what_was_merged_beside_it_is_taken_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq in (1, 2):
        cloud.merge(command(f"c{seq}", count(stock(), 5, seq)))
        cloud.fly()
    older, newer = [r.value for r in cloud.published if r.topic == RECEIPTS]
    assert cloud.merger.answers.heard_row(b"store-1.1", older)
    kind = cloud.rules.collections["Ledger"].type.__class__

    def failing(self: Any, state: DocumentState, op: Op) -> Any:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(kind, "take", failing)
    cloud.merge(command("poison", count(ledger(), 1, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    ours = [r.value for r in cloud.published if r.topic == RECEIPTS and r.key == b"store-1.1"]
    assert ours == [older, newer, newer]


@pytest.mark.parametrize(
    ("other", "believed"),
    [
        ({"offset": 1, "last": 2, "head": b"?" * 16}, False),  # that record we have merged: it was another's
        ({"offset": 2, "last": 2, "head": b"?" * 16}, True),  # we have not: who is further than we are may know it
        ({"head": b"?" * 16}, False),
        ({"last": 7}, False),
        ({"device_id": "store-2"}, False),
        ({"replica": "store-2.1", "offset": 2}, False),
        ({"offset": -1}, False),
    ],
)
def test_a_row_that_lies_is_answered_with_ours(cloud: Cloud, other: dict[str, Any], believed: bool) -> None:
    """Behind it the next batch of its replica would be a fork. Who knows of a record that we do not have yet is left alone."""
    cloud.merge(command("ours", count(stock(), 5, 1)))
    cloud.merge(command("theirs", count(stock(), 5, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    true = cloud.rows["store-1.1"]
    assert cloud.merger.answers.heard_row(b"store-1.1", lie(cloud, **other)) is not believed
    cloud.fly()
    told = [record for record in cloud.published if (record.topic, record.key) == (RECEIPTS, b"store-1.1")]
    assert told[-1].value == true
    assert len(told) == (1 if believed else 2)


def fought_over(cloud: Cloud, *, over: bool) -> list[bytes]:
    """The conflict's records: a price that two have set, and that a third has decided."""
    cloud.merge(command("a", change(stock(), "price", "set", 3, 1)))
    cloud.merge(command("b", change(stock(), "price", "set", 4, 1, replica="store-2.1")), replica="store-2.1")
    cloud.fly()
    if over:
        seen = {"store-1.1": 1, "store-2.1": 1}
        cloud.merge(command("c", change(stock(), "price", "set", 5, 2, context=seen)))
        cloud.fly()
    return [r.value or b"" for r in cloud.published if r.topic == CONFLICTS]


def test_a_conflict_that_was_resolved_does_not_stay_open_by_a_late_record(cloud: Cloud) -> None:
    opened, resolved = fought_over(cloud, over=True)
    identifier = cloud.conflicts()[0].id.encode()
    assert not cloud.merger.answers.heard_conflict(identifier, resolved)
    assert cloud.merger.answers.heard_conflict(identifier, opened)
    cloud.fly()

    last = cloud.conflicts()[-1]
    assert last == cloud.conflicts()[1]
    assert last.status is ConflictStatus.RESOLVED and last.decided_by is not None and last.decided_by.value == 5


def test_a_conflict_that_stands_is_told_again_over_a_late_resolution(cloud: Cloud) -> None:
    (opened,) = fought_over(cloud, over=False)
    found = cloud.conflicts()[0]
    late = cloud.rules.records.encode_conflict(replace(found, status=ConflictStatus.RESOLVED))
    assert cloud.merger.answers.heard_conflict(found.id.encode(), late)
    cloud.fly()
    assert [r.value for r in cloud.published if r.topic == CONFLICTS][-1] == opened


NOISE = {
    "a tombstone": None,
    "nothing": b"",
    "noise": b"\x00noise",
    "of a schema that nobody has": header(4_711) + b"noise",
}


@pytest.mark.parametrize("value", [*NOISE.values()], ids=[*NOISE])
@pytest.mark.parametrize("stored", [False, True])
def test_over_an_open_conflict_nothing_that_says_nothing_stays(cloud: Cloud, value: bytes | None, stored: bool) -> None:
    """Whether its state is stored yet or not."""
    cloud.merge(command("a", change(stock(), "price", "set", 3, 1)))
    cloud.merge(command("b", change(stock(), "price", "set", 4, 1, replica="store-2.1")), replica="store-2.1")
    cloud.seal()
    cloud.carry_out(Stage.DONE if stored else Stage.STORE)
    (opened,) = cloud.conflicts()
    assert cloud.merger.answers.heard_conflict(opened.id.encode(), value)
    cloud.fly()
    assert cloud.conflicts() == [opened, opened]


def test_the_word_on_another_conflict_under_its_name_is_answered(cloud: Cloud) -> None:
    (opened,) = fought_over(cloud, over=False)
    (found,) = cloud.conflicts()
    for other in (replace(found, document=stock("oat")), replace(found, id="f" * 24), replace(found, field="name")):
        assert cloud.merger.answers.heard_conflict(found.id.encode(), cloud.rules.records.encode_conflict(other))
    cloud.fly()
    assert {r.value for r in cloud.published if r.topic == CONFLICTS} == {opened}


@pytest.mark.parametrize("value", [*NOISE.values()], ids=[*NOISE])
def test_a_name_of_no_conflict_is_left_alone(cloud: Cloud, value: bytes | None) -> None:
    fought_over(cloud, over=True)
    for name in (b"f" * 24, b"", b"Stock/s1/tea", b"\xff" * 300):
        assert not cloud.merger.answers.heard_conflict(name, value)
    assert not any(cloud.disputes.values()) and not cloud.merger._at.disputes._flying


def test_only_what_is_open_is_kept_of_conflicts(cloud: Cloud) -> None:
    """By whatever they end: a write, a delete, a deadline."""
    for seq, sku in enumerate(("tea", "oat", "rye"), 1):
        for replica in ("store-1.1", "store-2.1"):
            op = change(stock(sku), "price", "set", seq, 1, replica=replica) if replica == "store-1.1" else None
            op = op or change(stock(sku), "price", "set", 9, 1, replica=replica)
            cloud.merge(command(f"{sku}-{replica}", op), replica=replica)
    cloud.fly()
    assert sum(len(names) for names in cloud.disputes.values()) == 3
    seen = {"store-1.1": 1, "store-2.1": 1}
    cloud.merge(command("decided", change(stock("tea"), "price", "set", 5, 2, context=seen)))
    cloud.merge(command("deleted", change(stock("oat"), "", "delete", None, 2, context=seen)))
    cloud.settle(*[due for due in cloud.overdue() if due.key == key(stock("rye"))])
    cloud.fly()
    assert not any(cloud.disputes.values())


@pytest.mark.parametrize("status", ConflictStatus)
@pytest.mark.parametrize(("replica", "seq"), [("nobody.1", 1), ("store-1.1", 9)], ids=["nobody", "somebody further"])
def test_an_open_conflict_is_told_over_one_that_names_writes_which_are_not_here(
    cloud: Cloud, status: ConflictStatus, replica: str, seq: int
) -> None:
    """Nobody else may ever have them; and if somebody has, our own merging ends the conflict, and tells it."""
    (opened,) = fought_over(cloud, over=False)
    found = cloud.conflicts()[0]
    unseen = replace(found.versions[0], replica=replica, seq=seq)
    heard = cloud.merger.answers.heard_conflict
    for forged in (
        replace(found, status=status, decided_by=unseen),
        replace(found, status=status, versions=(unseen, found.versions[1])),
    ):
        assert heard(found.id.encode(), cloud.rules.records.encode_conflict(forged))
        cloud.fly()
        assert [r.value for r in cloud.published if r.topic == CONFLICTS][-1] == opened

    seen = {"store-1.1": 1, "store-2.1": 1}
    cloud.merge(command("c", change(stock(), "price", "set", 5, 2, context=seen)))
    cloud.fly()
    assert cloud.conflicts()[-1].status is ConflictStatus.RESOLVED


def test_a_conflict_of_somebody_who_was_further_than_we_are_is_left_to_our_own_merging(cloud: Cloud) -> None:
    fought_over(cloud, over=True)
    found = cloud.conflicts()[0]
    ahead = replace(found, versions=(replace(found.versions[0], seq=9), found.versions[1]))
    assert not cloud.merger.answers.heard_conflict(found.id.encode(), cloud.rules.records.encode_conflict(ahead))


def test_noise_in_the_conflicts_topic_is_left_alone(cloud: Cloud) -> None:
    (opened,) = fought_over(cloud, over=False)
    for strange in (None, b"", b"noise", opened):
        assert not cloud.merger.answers.heard_conflict(b"another name", strange)
    assert cloud.merger.work.empty


def record(offset: int, number: int, *, last: bool, document: str = "tea") -> ChangelogRecord:
    return ChangelogRecord(key(stock(document)), b"", offset, groups.headers(number, last=last))


def test_a_group_that_nobody_ended_is_open_until_one_of_ours_ends_it() -> None:
    open_groups = OpenGroups()
    open_groups.read(0, [record(5, 7, last=False), record(6, 9, last=False), record(7, 8, last=True)], FAR)
    assert open_groups.start(0) == 5
    ((_, tail),) = open_groups.waiting()
    assert tail.number == 9
    open_groups.published(0, 8, 8)
    assert open_groups.waiting()
    open_groups.published(0, 9, 9)
    assert not open_groups.waiting() and open_groups.start(0) is None


def test_a_group_of_ours_may_have_ended_it_before_it_was_read() -> None:
    open_groups = OpenGroups()
    open_groups.published(0, 9, 7)
    open_groups.read(0, [record(5, 7, last=False)], FAR)
    assert not open_groups.waiting()
    open_groups.read(0, [record(11, 7, last=False)], FAR)
    assert open_groups.start(0) == 11


class Space:
    """The topics of one partition that somebody else writes into."""

    def __init__(self) -> None:
        self.end = 0
        self.ops_end = 100
        self.found: list[ChangelogRecord] = []
        self.failures = 0
        self.read: list[range] = []

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        known = {STATES: self.end, topics.ops_topic("retail"): self.ops_end}
        return {place: known.get(place[0], 0) for place in places}

    def records(self, topic: str, partition: int, offsets: range) -> list[ChangelogRecord]:
        if self.failures:
            self.failures -= 1
            raise RecoveryFailed("the broker is away")
        self.read.append(offsets)
        return [r for r in self.found if r.offset in offsets]


async def run_until(mender: Mender, fact: Callable[[], bool]) -> None:
    running = asyncio.create_task(mender.run())
    for _ in range(1000):
        if fact():
            break
        await asyncio.sleep(0.01)
    running.cancel()
    assert fact()


def mender_of(cloud: Cloud, space: Space, following: int, told: list[int], tail: Tail | None = None) -> Mender:
    mender = Mender(topics.SpaceTopics("retail"), space, quiet=lambda: True, mended=told.append)
    found = Recovered(read=Positions(following - 1), tail=tail or Tail())
    mender.own({0: cloud.merger}, {0: found})
    return mender


def stored(cloud: Cloud, mender: Mender, offset: int) -> None:
    """What is merged leaves; its last state lies at this offset."""
    flight = cloud.seal()
    (part,) = flight.partitions
    part.last = {topic: offset if topic == STATES else count - 1 for topic, count in part.sent.items()}
    mender.published(part, alone=True)
    cloud.carry_out()


@pytest.mark.parametrize("failures", [0, 2])
async def test_the_mender_looks_at_rest_and_keeps_what_it_could_not_read(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.02)
    older, newer = two_states(cloud)
    space, told = Space(), list[int]()
    mender = mender_of(cloud, space, 2, told)
    space.end, space.failures = 3, failures
    space.found = [ChangelogRecord(key(stock()), older, 2, groups.headers(0, last=True))]

    await run_until(mender, lambda: bool(told))

    assert (told, space.read) == ([1], [range(2, 3)])
    assert mender.settled(0).states == 1, "the answer has not left"
    stored(cloud, mender, 3)
    assert mender.settled(0).states == 3
    assert [r for r in cloud.published if r.topic == STATES][-1].value == newer


async def test_the_mender_ends_a_group_that_nobody_ended(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges and strong reads would wait for the partition's next group; a newer state that ends none needs no other answer."""
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.02)
    _, newer = two_states(cloud)
    space, told = Space(), list[int]()
    mender = mender_of(cloud, space, 2, told)
    space.end, space.found = 3, [ChangelogRecord(key(stock()), newer, 2, groups.headers(1, last=False))]

    await run_until(mender, lambda: bool(told))
    assert mender.settled(0).states == 1
    stored(cloud, mender, 3)

    last = [r for r in cloud.published if r.topic == STATES][-1]
    assert groups.parse(last.headers)[:2] == (1, True)
    assert mender.settled(0).states == 3 and not mender.unrest(
        0, dict.fromkeys((STATES, RECEIPTS, CONFLICTS, PARKED), 0)
    )


async def test_a_group_is_ended_only_by_who_has_merged_as_far(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    two_states(cloud)
    tail = Tail()
    torn = record(2, 2, last=False)
    tail.take(torn, groups.parse(torn.headers))
    rounds: list[bool] = []
    mender = mender_of(cloud, Space(), 3, [], tail)
    mender._quiet = lambda: bool(rounds.append(True)) or True  # type: ignore[func-returns-value]
    await run_until(mender, lambda: len(rounds) > 4)
    assert cloud.merger.work.empty

    cloud.merge(command("c3", count(stock("coffee"), 5, 1)))
    stored(cloud, mender, 3)
    assert mender.settled(0).states == 3


def torn_first_group(cloud: Cloud) -> bytes:
    """The first record of all changes two documents, and a worker died when one of them was out. Another begins, with nothing committed; that record."""
    both = cloud.batch(command("c1", count(stock(), 5, 1), count(stock("coffee"), 5, 1)))
    cloud.merge_value(both)
    written = dict(cloud.seal().partitions[0].writes)
    cloud.new_life()
    cloud.store[key(stock())] = written[key(stock())]
    cloud.merger.resume(0)
    return both


async def test_a_group_that_the_first_record_of_all_began_is_ended_when_that_is_merged_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker died in the middle of its first group, with nothing committed: to end that early shows half of a command."""
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    both = torn_first_group(cloud)
    assert cloud.merger.merged_to == -1
    tail = Tail()
    torn = record(0, 0, last=False)
    tail.take(torn, groups.parse(torn.headers))
    rounds: list[bool] = []
    mender = mender_of(cloud, Space(), 1, [], tail)
    mender._quiet = lambda: bool(rounds.append(True)) or True  # type: ignore[func-returns-value]
    await run_until(mender, lambda: len(rounds) > 4)
    assert cloud.merger.work.empty

    cloud.merge_value(both, 0)
    stored(cloud, mender, 1)
    assert [r.key for r in cloud.published if r.topic == STATES] == [key(stock("coffee"))]
    assert mender.settled(0).states == 1


def test_no_answer_ends_the_group_that_the_first_record_of_all_began(cloud: Cloud) -> None:
    """Half of a command would be seen: what leaves before that record is merged has no smaller number than its group."""
    both = torn_first_group(cloud)
    assert cloud.merger.answers.heard(key(stock()), b"noise", -1)
    cloud.fly()
    assert [r for r in cloud.published if r.topic == STATES] == []

    cloud.merge_value(both, 0)
    cloud.fly()
    group = [r for r in cloud.published if r.topic == STATES]
    assert {r.key for r in group} == {key(stock()), key(stock("coffee"))}
    assert [groups.parse(r.headers)[:2] for r in group] == [(0, False), (0, True)]


async def test_what_waits_for_the_first_record_holds_the_mark_back(cloud: Cloud) -> None:
    """A worker that ends before it leaves the answer to the next one."""
    both = torn_first_group(cloud)
    mender = mender_of(cloud, Space(), 3, [])
    mender._watches[STATES].again(0, range(2, 3))
    mender._look_at(STATES, 0, range(2, 3), [ChangelogRecord(key(stock()), b"noise", 2, ())])
    cloud.merger.tell_again(key(stock("nowhere")), Place("price", ""))
    stored(cloud, mender, -1)
    assert mender.settled(0).states == 1, "something else left"

    cloud.merge_value(both, 0)
    stored(cloud, mender, 4)
    assert mender.settled(0).states == 4


@pytest.mark.parametrize("last", [False, True])
async def test_a_number_that_no_op_record_has_is_answered_by_a_group_of_ours(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """The mark of the store would stay before it for ever, and who has applied it believes to have read so far."""
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    _, newer = two_states(cloud)
    space, told = Space(), list[int]()
    mender = mender_of(cloud, space, 2, told)
    space.end, space.ops_end = 3, 2
    space.found = [ChangelogRecord(key(stock()), newer, 2, groups.headers(10**18, last=last))]

    await run_until(mender, lambda: bool(told))
    assert mender.settled(0).states == 1, "the answer has not left"
    stored(cloud, mender, 3)
    answer = [r for r in cloud.published if r.topic == STATES][-1]
    assert (answer.key, answer.value, groups.parse(answer.headers)[:2]) == (key(stock()), newer, (1, True))
    assert mender.settled(0).states == 3 and not mender.unrest(0, {STATES: 4, RECEIPTS: 0, CONFLICTS: 0, PARKED: 0})


async def test_a_number_that_no_op_record_has_on_no_document_is_passed_over(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    two_states(cloud)
    space = Space()
    mender = mender_of(cloud, space, 2, [])
    space.end, space.ops_end = 3, 2
    space.found = [ChangelogRecord(b"noise", b"", 2, groups.headers(10**18, last=False))]
    await run_until(
        mender, lambda: bool(space.read) and not mender.unrest(0, {STATES: 3, RECEIPTS: 0, CONFLICTS: 0, PARKED: 0})
    )
    assert cloud.merger.work.empty and mender.settled(0).states == 2


async def test_a_number_of_somebody_who_was_further_is_waited_for(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has the record, and we have not merged it yet; then there is no doubt, and nothing to publish."""
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    _, newer = two_states(cloud)
    space, rounds = Space(), list[bool]()
    mender = mender_of(cloud, space, 2, [])
    mender._quiet = lambda: bool(rounds.append(True)) or True  # type: ignore[func-returns-value]
    space.end, space.ops_end = 3, 3
    space.found = [ChangelogRecord(key(stock()), newer, 2, groups.headers(2, last=True))]
    await run_until(mender, lambda: len(rounds) > 6)
    assert cloud.merger.work.empty and mender.unrest(0, {STATES: 3, RECEIPTS: 0, CONFLICTS: 0, PARKED: 0})
    cloud.merge(command("c3", count(stock("coffee"), 5, 1)))
    await run_until(mender, lambda: not mender.unrest(0, {STATES: 3, RECEIPTS: 0, CONFLICTS: 0, PARKED: 0}))
    assert not cloud.merger.work.again


def test_rows_of_flights_behind_are_no_strangers(cloud: Cloud) -> None:
    """An urgent row of the second flight stands before the plain one of the first."""
    mender = mender_of(cloud, Space(), 0, [])
    for at, (seq, row, alone) in enumerate(((1, 1, False), (2, 0, True))):
        cloud.merge(command(f"c{seq}", count(stock(), 5, seq)))
        (part,) = cloud.seal().partitions
        part.last = {STATES: at, RECEIPTS: row}
        mender.published(part, alone=alone)
        cloud.carry_out()
        assert mender.settled(0).rows == (1 if alone else -1)
    assert not mender.unrest(0, {STATES: 2, RECEIPTS: 2, CONFLICTS: 0, PARKED: 0})


async def test_the_mender_asks_nothing_while_flights_are_under_way(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "CHECK_SECONDS", 0.01)
    space, rounds = Space(), list[bool]()
    mender = mender_of(cloud, space, 0, [])
    mender._quiet = lambda: bool(rounds.append(True))  # type: ignore[func-returns-value]
    space.end = 5
    await run_until(mender, lambda: len(rounds) > 3)
    assert space.read == []
    cloud.merge(command("c1", count(stock(), 5, 1)))
    stored(cloud, mender, 4)
    await run_until(mender, lambda: bool(space.read))
    assert space.read == [range(5)]
