"""What a bounded counter leaves to its holder belongs to all lives of that device, and to them together."""

from __future__ import annotations

import pytest

from driftlog_crdt import BadOperation, BoundedCounter, Op
from driftlog_crdt.bounded_counter import Rows
from driftlog_crdt.causal import PAST

SEATS = BoundedCounter(lower=0, upper=20, initial=10, holder="desk")
OLD, NEW, GUEST = "desk.aaaaaaaa", "desk.bbbbbbbb", "door.cccccccc"


def after(*writes: tuple[str, str, object]) -> Rows:
    state = SEATS.new()
    for seq, (replica, kind, value) in enumerate(writes, 1):
        op = Op(replica, seq, seq, "seats", kind, value)  # type: ignore[arg-type]
        SEATS.permit(state, op)
        SEATS.apply(state, op)
    return state


def test_every_life_of_the_holder_may_start_from_it_and_no_other() -> None:
    state = SEATS.new()
    assert [SEATS.rights(state, name) for name in ("desk", OLD, NEW, GUEST, "desktop.aaaaaaaa")] == [10, 10, 10, 0, 0]
    assert [SEATS.room(state, name) for name in (OLD, GUEST)] == [10, 0]


def test_what_one_life_took_is_gone_for_the_next() -> None:
    state = after((OLD, "decrement", 7))
    assert (SEATS.rights(state, OLD), SEATS.rights(state, NEW)) == (3, 3)
    with pytest.raises(BadOperation, match="may take 3 more, not 4"):
        SEATS.permit(state, Op(NEW, 1, 9, "seats", "decrement", 4))


def test_what_a_life_earned_itself_is_its_own() -> None:
    state = after((OLD, "increment", 5), (OLD, "decrement", 7))
    assert (SEATS.rights(state, OLD), SEATS.rights(state, NEW)) == (8, 8)
    state = after((OLD, "increment", 5), (OLD, "decrement", 2))
    assert (SEATS.rights(state, OLD), SEATS.rights(state, NEW)) == (13, 10)


def test_two_lives_that_spend_apart_stay_within_the_bound_where_they_meet() -> None:
    state = after((OLD, "decrement", 6), (NEW, "transfer", [GUEST, 4]))
    assert [SEATS.rights(state, name) for name in (OLD, NEW, GUEST)] == [0, 0, 4]
    with pytest.raises(BadOperation):
        SEATS.permit(state, Op(OLD, 3, 9, "seats", "decrement", 1))


@pytest.mark.parametrize("earned", [0, 5])
def test_a_life_that_is_over_leaves_the_rest_once(earned: int) -> None:
    state = after((OLD, "increment", earned), (OLD, "decrement", 3))
    whole = SEATS.value(state)
    SEATS.fold(state, {OLD: GUEST}, 1)
    assert OLD not in state
    assert PAST in state
    assert SEATS.value(state) == whole
    rights = [SEATS.rights(state, name) or 0 for name in (NEW, GUEST)]
    assert rights == ([7, 0] if not earned else [10, 2])
    assert sum(rights) == whole


def test_what_a_life_leaves_to_its_device_its_next_life_finds_and_spends_once() -> None:
    state = after((OLD, "transfer", [GUEST, 6]), (GUEST, "decrement", 1))
    SEATS.fold(state, {GUEST: "door"}, 1)
    assert [SEATS.rights(state, name) for name in ("door.dddddddd", "door.eeeeeeee", "doors.dddddddd")] == [5, 5, 0]
    SEATS.apply(state, Op("door.dddddddd", 1, 9, "seats", "decrement", 3))
    assert [SEATS.rights(state, name) for name in ("door.dddddddd", "door.eeeeeeee")] == [2, 2]
    SEATS.fold(state, {"door.dddddddd": "door"}, 2)
    assert SEATS.rights(state, "door.eeeeeeee") == 2
    assert (SEATS.rights(state, NEW) or 0) + 2 == SEATS.value(state)


def test_what_a_device_that_is_gone_leaves_comes_back_to_the_holder() -> None:
    state = after((OLD, "transfer", [GUEST, 6]))
    SEATS.fold(state, {GUEST: ""}, 1)
    assert SEATS.rights(state, NEW) == 10
    free = BoundedCounter(lower=0)
    rows = free.new()
    free.apply(rows, Op(GUEST, 1, 1, "seats", "increment", 6))
    free.fold(rows, {GUEST: ""}, 1)
    assert free.rights(rows, "door.dddddddd") == 6
