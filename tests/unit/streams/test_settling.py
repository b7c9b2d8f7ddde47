"""Deadlines end conflicts: by a record of the cloud, at its place in the log, and never against what a person decides."""

from __future__ import annotations

import pytest

from driftlog_crdt import SETTLER, Place, Plain
from driftlog_schemas import topics
from driftlog_schemas.identity import CLOUD_REPLICA, DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.core.flight import Stage
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, key, stock

HOUR_MS = 3_600_000
DEADLINE_MS = NOW_MS + 48 * HOUR_MS
LATE_MS = DEADLINE_MS + 1
PLACE = Place("price")
ONE, OTHER = "store-1.1", "store-2.1"


def price(value: int, seq: int, replica: str = ONE, seen: dict[str, int] | None = None, ms: int = NOW_MS):
    return change(stock(), "price", "set", value, seq, replica=replica, context=seen or {}, ms=ms)


@pytest.fixture
def disputed(cloud: Cloud) -> Cloud:
    """Two stores have set a price, and neither had seen the other; 20 stands."""
    cloud.merge(command("ten", price(10, 1))._replace(actor="anna"))
    cloud.merge(command("twenty", price(20, 1, OTHER, ms=NOW_MS + 1))._replace(actor="bert"), replica=OTHER)
    cloud.fly()
    return cloud


def newest(cloud: Cloud) -> Conflict:
    cloud.fly()
    return cloud.conflicts()[-1]


def told(conflict: Conflict) -> tuple[str, list[Plain], Plain]:
    by = conflict.decided_by
    return conflict.status.value, [v.value for v in conflict.versions], None if by is None else by.value


def decide(cloud: Cloud, value: int, seen: dict[str, int], seq: int, replica: str = ONE) -> None:
    cloud.merge(command(f"decide-{value}", price(value, seq, replica, seen)), replica=replica)


def test_what_stands_becomes_final_and_who_lost_is_kept(disputed: Cloud) -> None:
    (open_one,) = disputed.conflicts()
    assert (open_one.status, open_one.deadline_ms) == (ConflictStatus.OPEN, DEADLINE_MS)
    (due,) = disputed.overdue(LATE_MS)
    disputed.settle(due, append_ms=LATE_MS)
    final = newest(disputed)
    assert told(final) == ("settled", [20, 10], 20)
    assert final.versions == open_one.versions, "who wrote what, and when, is as it was"
    by = final.decided_by
    assert by is not None
    assert (by.replica, by.how, by.append_ms, by.hlc >> 16, by.actor) == (SETTLER, "deadline", LATE_MS, LATE_MS, "")
    assert disputed.value(stock(), "price") == 20
    state = disputed.state(stock())
    assert state.vector == {ONE: 1, OTHER: 1, SETTLER: 1}
    assert disputed.rules.collections["Stock"].type.conflicts(state) == []
    assert disputed.overdue() == ()


def test_the_time_is_the_logs_and_no_workers(disputed: Cloud) -> None:
    (due,) = disputed.overdue(LATE_MS)
    disputed.settle(due, append_ms=DEADLINE_MS - 1)
    assert newest(disputed).status is ConflictStatus.OPEN
    disputed.settle(due, append_ms=DEADLINE_MS)
    assert newest(disputed).status is ConflictStatus.SETTLED


def test_a_conflict_without_a_deadline_stays_open(cloud: Cloud) -> None:
    parcel = DocumentId("Parcel", "s1", "p")
    for replica, value in ((ONE, "a"), (OTHER, "b")):
        written = change(parcel, "labels", "set", ["left", value], 1, replica=replica)
        cloud.merge(command(value, written), replica=replica)
    assert newest(cloud).status is ConflictStatus.OPEN
    assert cloud.overdue() == () and cloud.waiting == set()


def test_a_record_written_as_one_is_settled_as_one(cloud: Cloud) -> None:
    address = DocumentId("Address", "s1", "a")
    for at, (replica, street) in enumerate(((ONE, "High"), (OTHER, "Low"))):
        put = change(
            address, "", "put", {"street": street, "city": "x"}, 1, replica=replica, context={}, ms=NOW_MS + at
        )
        cloud.merge(command(street, put), replica=replica)
    cloud.fly()
    cloud.settle(*cloud.overdue())
    assert newest(cloud).decided_by.value == {"street": "Low", "city": "x"}  # type: ignore[union-attr]


def test_a_person_who_decides_first_has_decided(disputed: Cloud) -> None:
    (due,) = disputed.overdue(LATE_MS)
    decide(disputed, 15, {OTHER: 1}, 2)
    disputed.settle(due, append_ms=LATE_MS)
    assert told(newest(disputed)) == ("resolved", [20, 10], 15)
    assert disputed.state(stock()).vector == {ONE: 2, OTHER: 1}, "nothing was settled"


@pytest.mark.parametrize("value", [15, 20])
def test_a_person_who_had_seen_the_versions_and_not_the_settlement_has_the_last_word(
    disputed: Cloud, value: int
) -> None:
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    disputed.fly()
    decide(disputed, value, {OTHER: 1}, 2)
    final = newest(disputed)
    assert told(final) == ("resolved", [20, 10], value)
    assert [v.actor for v in final.versions] == ["bert", "anna"]
    assert disputed.value(stock(), "price") == value
    assert len(disputed.rules.collections["Stock"].type.writes_at(disputed.state(stock()), PLACE)) == 1
    assert [c.status.value for c in disputed.conflicts()] == ["open", "settled", "resolved"], "no second one opens"


def test_both_orders_end_alike(disputed: Cloud) -> None:
    other = Cloud()
    for cloud in (disputed, other):
        if cloud is other:
            cloud.merge(command("ten", price(10, 1))._replace(actor="anna"))
            cloud.merge(command("twenty", price(20, 1, OTHER, ms=NOW_MS + 1))._replace(actor="bert"), replica=OTHER)
            cloud.fly()
    (due,) = other.overdue(LATE_MS)
    disputed.settle(due, append_ms=LATE_MS)
    decide(disputed, 15, {OTHER: 1}, 2)
    decide(other, 15, {OTHER: 1}, 2)
    other.settle(due, append_ms=LATE_MS)
    ends = [(told(newest(cloud)), cloud.value(stock(), "price")) for cloud in (disputed, other)]
    assert ends[0] == ends[1]


def test_who_had_seen_only_one_of_them_competes_as_before(disputed: Cloud) -> None:
    """An edge was offline, and wrote on the price of its own store; it had not seen the other's."""
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    decide(disputed, 12, {}, 2)
    again = newest(disputed)
    assert (again.status, sorted(v.value for v in again.versions)) == (ConflictStatus.OPEN, [12, 20])  # type: ignore[type-var]
    assert {v.how for v in again.versions} == {"", "deadline"}
    assert again.deadline_ms == again.opened_ms + 48 * HOUR_MS
    decide(disputed, 13, {OTHER: 1, SETTLER: 1}, 3)
    assert told(newest(disputed)) == ("resolved", [20, 12], 13)


def test_an_ordinary_write_after_it_is_no_second_decision(disputed: Cloud) -> None:
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    disputed.fly()
    decide(disputed, 30, {OTHER: 1, SETTLER: 1}, 2)
    assert told(newest(disputed)) == ("settled", [20, 10], 20)
    assert disputed.value(stock(), "price") == 30


def test_what_is_settled_again_stands_for_all(disputed: Cloud) -> None:
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    decide(disputed, 12, {}, 2)
    disputed.fly()
    disputed.settle(*disputed.overdue(), append_ms=1 << 46)
    assert told(newest(disputed)) == ("settled", [20, 12], 20)
    assert disputed.state(stock()).vector[SETTLER] == 2
    decide(disputed, 14, {ONE: 2}, 2, OTHER)
    assert told(newest(disputed))[::2] == ("resolved", 14), "he had seen all three, and neither settlement"


@pytest.mark.parametrize("joined", ["another", "gone"])
def test_what_has_changed_by_then_is_not_settled(disputed: Cloud, joined: str) -> None:
    (due,) = disputed.overdue(LATE_MS)
    decide(disputed, 11, {} if joined == "another" else {OTHER: 1}, 2)
    disputed.settle(due, append_ms=LATE_MS)
    disputed.fly()
    assert SETTLER not in disputed.state(stock()).vector


def test_two_workers_settle_once(disputed: Cloud) -> None:
    (due,) = disputed.overdue(LATE_MS)
    one = disputed.due(due)
    disputed.numbers[CLOUD_REPLICA] -= 1
    other = disputed.due(due)
    for value in (one, other, one):
        disputed.merge_value(value, append_ms=LATE_MS)
    disputed.fly()
    assert [c.status.value for c in disputed.conflicts()] == ["open", "settled"]
    assert disputed.state(stock()).vector[SETTLER] == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_frozen_workers_record_settles_nothing_however_much_its_row_remembers(
    disputed: Cloud, committed: bool
) -> None:
    """Its number was taken long ago. A row forgets earlier where commits are quick, as in a replay: that decides nothing."""
    (due,) = disputed.overdue(LATE_MS)
    frozen = disputed.due(due)
    disputed.numbers[CLOUD_REPLICA] -= 1
    for _ in range(2):
        disputed.drop("nobody")
        if committed:
            disputed.fly()
    disputed.merge_value(frozen, append_ms=LATE_MS)
    assert newest(disputed).status is ConflictStatus.OPEN
    disputed.settle(due, append_ms=LATE_MS + 1)
    by = newest(disputed).decided_by
    assert by is not None
    assert by.append_ms == LATE_MS + 1


def test_a_late_copy_settles_nothing(disputed: Cloud) -> None:
    """The deadline had not passed when its record was appended; when a client sends it once more it has."""
    (due,) = disputed.overdue(LATE_MS)
    value = disputed.due(due)
    disputed.merge_value(value, append_ms=DEADLINE_MS - 1)
    disputed.merge_value(value, append_ms=LATE_MS)
    assert newest(disputed).status is ConflictStatus.OPEN


@pytest.mark.parametrize("name", ["nowhere", "on_hand", "", "price.key"])
def test_a_place_that_cannot_be_in_conflict_is_passed_over(disputed: Cloud, name: str) -> None:
    (due,) = disputed.overdue(LATE_MS)
    disputed.settle(due._replace(place=name), append_ms=LATE_MS)
    assert newest(disputed).status is ConflictStatus.OPEN


def test_a_document_nobody_knows_is_passed_over(disputed: Cloud) -> None:
    (due,) = disputed.overdue(LATE_MS)
    for foreign in (b"Stock/s1/never", b"Unknown/s1/x"):
        disputed.settle(due._replace(key=foreign), append_ms=LATE_MS)
    disputed.fly()
    assert disputed.state(stock("never")).vector == {}


@pytest.mark.parametrize("stage", [*Stage])
@pytest.mark.parametrize("rows_out", [True, False])
def test_a_crash_at_any_step_settles_once_with_the_same_bytes(disputed: Cloud, stage: Stage, rows_out: bool) -> None:
    (due,) = disputed.overdue(LATE_MS)
    value, offset = disputed.due(due), disputed.end
    disputed.merge_value(value, append_ms=LATE_MS)
    disputed.seal()
    disputed.carry_out(until=stage)
    if rows_out:
        receipts = topics.receipts_topic("retail")
        disputed.rows.update(
            {r.key.decode(): r.value for r in disputed.published if r.topic == receipts and r.value is not None}
        )
    disputed.new_life(committed=offset)
    disputed.merge_value(value, offset=offset, append_ms=LATE_MS)
    disputed.fly()
    after = disputed.store[key(stock())]
    whole = Cloud()
    whole.merge(command("ten", price(10, 1))._replace(actor="anna"))
    whole.merge(command("twenty", price(20, 1, OTHER, ms=NOW_MS + 1))._replace(actor="bert"), replica=OTHER)
    whole.fly()
    whole.settle(*whole.overdue(LATE_MS), append_ms=LATE_MS)
    whole.fly()
    assert after == whole.store[key(stock())]
    settled = {c.id: c for c in disputed.conflicts() if c.status is ConflictStatus.SETTLED}
    assert {c.decided_by.seq for c in settled.values() if c.decided_by} == {1}


def test_how_it_ended_stays_whatever_is_written_over_it(disputed: Cloud) -> None:
    """A frozen worker's late word, and a stranger's noise: also when an ordinary write stands there by then, which has decided nothing."""
    (open_one,) = disputed.conflicts()
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    final, late = newest(disputed), disputed.rules.records.encode_conflict(open_one)
    seen = {ONE: 1, OTHER: 1, SETTLER: 1}
    decide(disputed, 30, seen, 2)
    assert newest(disputed) == final
    for word in (late, None, b"noise"):
        assert disputed.merger.answers.heard_conflict(open_one.id.encode(), word)
        assert newest(disputed) == final
    assert not disputed.merger.answers.heard_conflict(
        open_one.id.encode(), disputed.rules.records.encode_conflict(final)
    )


def test_who_decided_stays_who_decided(disputed: Cloud) -> None:
    (open_one,) = disputed.conflicts()
    decide(disputed, 25, {ONE: 1, OTHER: 1}, 2)
    decide(disputed, 30, {ONE: 2, OTHER: 1}, 3)
    late = disputed.rules.records.encode_conflict(open_one)
    for stage in (Stage.STORE, Stage.DONE):  # on its way to the store, and there
        disputed.seal()
        disputed.carry_out(stage)
        assert disputed.merger.answers.heard_conflict(open_one.id.encode(), late)
    resolved = newest(disputed)
    assert told(resolved)[2] == 25
    assert disputed.conflicts() == [open_one, resolved, resolved, resolved]


def test_an_end_is_not_told_over_a_dispute_that_came_after_it(disputed: Cloud) -> None:
    (open_one,) = disputed.conflicts()
    decide(disputed, 25, {ONE: 1, OTHER: 1}, 2)
    disputed.fly()
    decide(disputed, 26, {ONE: 1, OTHER: 1}, 2, OTHER)
    again = newest(disputed)
    assert again.status is ConflictStatus.OPEN and told(again)[1] == [26, 25]
    assert disputed.merger.answers.heard_conflict(
        open_one.id.encode(), disputed.rules.records.encode_conflict(open_one)
    )
    assert newest(disputed) == again


def test_nobody_else_may_settle(disputed: Cloud) -> None:
    """Not a device, whatever it says of itself."""
    from driftlog_schemas.messages import Forgetting

    found = disputed.overdue(LATE_MS)
    disputed.merge_value(disputed.batch(forget=Forgetting(-1, settle=found), replica=ONE), append_ms=LATE_MS)
    assert newest(disputed).status is ConflictStatus.OPEN


def test_a_delete_by_somebody_who_had_seen_the_versions_takes_the_settlement_along(disputed: Cloud) -> None:
    disputed.settle(*disputed.overdue(LATE_MS), append_ms=LATE_MS)
    gone = change(stock(), "", "delete", None, 2, context={OTHER: 1})
    disputed.merge(command("gone", gone))
    disputed.fly()
    kind = disputed.rules.collections["Stock"].type
    assert not kind.exists(disputed.state(stock()))
    disputed.merge(command("sold", count(stock(), 1, 3)))
    disputed.fly()
