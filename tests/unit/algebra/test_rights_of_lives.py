"""What a bounded counter leaves to its holder belongs to all lives of that device, and to them together."""

from __future__ import annotations

from random import Random

import pytest

from driftlog_crdt import BadOperation, BoundedCounter, Op
from driftlog_crdt.bounded_counter import Rows
from driftlog_crdt.causal import PAST
from tests.few import few

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


# -- lives that are known to be over, and not forgotten yet


def test_what_a_life_that_is_over_had_its_device_may_spend_once() -> None:
    door = "door.aaaaaaaa", "door.bbbbbbbb", "door.cccccccc"
    state = after((OLD, "transfer", [door[0], 6]))
    assert [SEATS.rights(state, name) for name in door] == [6, 0, 0]
    over = door[:1]
    assert [SEATS.rights(state, name, over) for name in (*door, "doors.cccccccc")] == [6, 6, 6, 0]
    SEATS.apply(state, Op(door[1], 1, 9, "seats", "decrement", 4))
    assert [SEATS.rights(state, name, over) for name in door] == [2, 2, 2], (
        "of the old one too, whose parked ops may come"
    )
    with pytest.raises(BadOperation, match="may take 2 more, not 3"):
        SEATS.permit(state, Op(door[2], 1, 9, "seats", "decrement", 3), over)
    assert (SEATS.rights(state, NEW) or 0) + 2 == SEATS.value(state)


def test_a_life_keeps_what_it_earned_itself_whatever_others_took_of_lives_that_nobody_here_knows_to_be_over() -> None:
    state = after((OLD, "transfer", [GUEST, 6]))
    SEATS.apply(state, Op("door.bbbbbbbb", 1, 9, "seats", "decrement", 4))  # the cloud knew that the guest is over
    SEATS.apply(state, Op("door.dddddddd", 1, 9, "seats", "increment", 3))
    assert SEATS.rights(state, "door.dddddddd") == 3
    assert SEATS.rights(state, "door.dddddddd", {GUEST, "door.bbbbbbbb"}) == 5


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("names", [("door.aaaaaaaa", "door.bbbbbbbb"), ("door.bbbbbbbb", "door.aaaaaaaa")])
def test_what_a_later_life_took_of_an_earlier_one_stays_taken_when_they_are_forgotten(
    together: bool, names: tuple[str, str]
) -> None:
    first, second = names
    state = after((OLD, "transfer", [first, 6]))
    SEATS.apply(state, Op(second, 1, 9, "seats", "decrement", 4))
    for gone in ([first, second],) if together else ([second], [first, second]):
        SEATS.fold(state, dict.fromkeys(gone, "door"), 1)
    assert SEATS.rights(state, "door.dddddddd", names) == 2
    assert SEATS.rights(state, NEW) == 4
    assert SEATS.value(state) == 6


NAMES = [f"{device}.{n}" for device in ("desk", "door", "gate") for n in range(3)]


@pytest.mark.parametrize("seed", few(range(300), 60))
def test_no_order_of_spends_ends_and_forgettings_passes_the_bound(seed: int) -> None:
    """Whoever spends what it may, down to nothing: the value is what all devices' rights are together, and never below the bound."""
    random = Random(seed)
    state, over, folded = SEATS.new(), set[str](), set[str]()
    for seq in range(1, 60):
        alive = [name for name in NAMES if name not in over]
        step = random.randrange(8)
        if step == 0 and len(alive) > 3:
            ending = random.choice(alive)
            if sum(name.startswith(ending[:4]) for name in alive) > 1:
                over.add(ending)
        elif step == 1 and over - folded:
            gone = random.sample(sorted(over - folded), random.randint(1, len(over - folded)))
            SEATS.fold(state, {name: name.partition(".")[0] for name in gone}, seq)
            folded |= set(gone)
        else:
            late = sorted(over - folded) if random.random() < 0.2 else []  # it had been parked
            kind = random.choice(["increment", "decrement", "decrement", "transfer", "transfer_room"])
            value: object = random.randint(0, 6)
            if kind.startswith("transfer"):
                value = [random.choice(alive), value]
            op = Op(random.choice(late or alive), seq, seq, "seats", kind, value)  # type: ignore[arg-type]
            try:
                SEATS.permit(state, op, over)
            except BadOperation:
                continue
            SEATS.apply(state, op)
        assert 0 <= SEATS.value(state) <= 20
    devices: dict[str, list[str]] = {}
    for name in NAMES:
        if name not in over:
            devices.setdefault(name.partition(".")[0], []).append(name)
    last = [names[0] for names in devices.values()]
    over |= {name for names in devices.values() for name in names[1:]}
    assert sum(SEATS.rights(state, name, over) or 0 for name in last) == SEATS.value(state)
    assert sum(SEATS.room(state, name, over) or 0 for name in last) == 20 - SEATS.value(state)
