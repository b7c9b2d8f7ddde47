"""Hybrid logical clocks: above all seen, near the wall, and bounded where a device's wall is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt.hlc import COUNTER_MASK, DEFAULT_BOUND_MS, MAX_MS, HybridClock, bounded, millis, pack

walls = st.integers(0, MAX_MS // 2)
stamps = st.builds(pack, walls, st.integers(0, COUNTER_MASK))
events = st.lists(st.tuples(st.booleans(), walls), max_size=30)


@given(events=events)
def test_every_stamp_is_above_all_seen_and_given(events: list[tuple[bool, int]]) -> None:
    clock = HybridClock()
    highest = 0
    for is_local, wall in events:
        if is_local:
            stamp = clock.tick(wall)
            assert stamp > highest
            assert stamp >= pack(wall)
        else:
            stamp = pack(wall, 7)
            clock.observe(stamp, wall)
        highest = max(highest, stamp)
        assert clock.last == highest


@given(last=walls, seen=stamps, now=walls, bound=st.integers(0, 10_000_000))
def test_no_clock_is_dragged_beyond_the_bound(last: int, seen: int, now: int, bound: int) -> None:
    clock = HybridClock(pack(last))
    clock.observe(seen, now, bound)
    assert clock.last == (max(pack(last), seen) if millis(seen) <= now + bound else pack(last))


@given(real=st.integers(0, MAX_MS // 4), ahead=st.integers(1, MAX_MS // 4), data=st.data())
def test_a_clock_that_is_corrected_stamps_real_time(real: int, ahead: int, data: st.DataObject) -> None:
    later = data.draw(st.integers(0, ahead - 1))
    clock = HybridClock()
    stamped = millis(clock.tick(real + ahead))
    for _ in range(2):  # hearing it twice changes nothing
        clock.correct(stamped, real, real + ahead + later)
    assert millis(clock.tick(real + ahead + later + 1)) == real + later + 1


@given(real=st.integers(0, MAX_MS // 4), ahead=st.integers(2, MAX_MS // 4), data=st.data())
def test_a_wall_that_was_set_right_before_the_log_spoke_is_left_alone(
    real: int, ahead: int, data: st.DataObject
) -> None:
    later = data.draw(st.integers(0, ahead - 2))
    clock = HybridClock()
    stamped = millis(clock.tick(real + ahead))
    clock.correct(stamped, real, real + later)
    assert (clock.ahead_ms, millis(clock.tick(real + later + 1))) == (0, real + later + 1)


def test_a_wall_that_was_found_ahead_and_is_set_right_is_believed_again() -> None:
    clock = HybridClock(ahead_ms=1000)
    clock.at_least(5000, 6500)
    assert clock.now_ms(6500) == 5500, "it may be"
    clock.at_least(5600, 5650)
    assert clock.now_ms(5650) == 5600, "less has passed than is known to have"
    clock.at_least(9000, 8000)
    assert clock.now_ms(8000) == 8000, "a slow wall is not set forward"


@given(wall=walls, ticks=st.integers(1, 50))
def test_a_clock_stays_at_the_wall_and_counts_within_the_millisecond(wall: int, ticks: int) -> None:
    clock = HybridClock()
    given_out = [clock.tick(wall) for _ in range(ticks)]
    assert {millis(stamp) for stamp in given_out} == {wall}
    assert given_out == sorted(set(given_out))


def test_a_stamp_is_48_bits_of_milliseconds_and_16_of_counter() -> None:
    assert pack(2**48 - 1, 2**16 - 1) == 2**64 - 1
    with pytest.raises(ValueError, match="no such HLC stamp"):
        pack(2**48)
    with pytest.raises(ValueError, match="no such HLC stamp"):
        pack(0, 2**16)


def test_a_full_counter_carries_into_the_millisecond() -> None:
    clock = HybridClock(pack(5, COUNTER_MASK))
    assert clock.tick(5) == pack(6, 0)


@given(stamp=stamps, append_ms=walls, bound_ms=st.integers(0, 10_000_000))
def test_a_stamp_beyond_the_bound_counts_as_the_append_time(stamp: int, append_ms: int, bound_ms: int) -> None:
    counted = bounded(stamp, append_ms, bound_ms)
    assert millis(counted) <= append_ms + bound_ms
    assert counted == (stamp if millis(stamp) <= append_ms + bound_ms else pack(append_ms))
    assert bounded(counted, append_ms, bound_ms) == counted


def test_the_bound_itself_is_allowed() -> None:
    assert DEFAULT_BOUND_MS == 5 * 60 * 1000
    at_the_bound = pack(1000 + DEFAULT_BOUND_MS, 3)
    assert bounded(at_the_bound, 1000) == at_the_bound
    assert bounded(pack(1001 + DEFAULT_BOUND_MS), 1000) == pack(1000)


@given(ms=st.integers(0, MAX_MS), counter=st.integers(0, COUNTER_MASK))
def test_stamps_order_by_time_then_counter(ms: int, counter: int) -> None:
    assert millis(pack(ms, counter)) == ms
    assert (pack(ms, counter) & COUNTER_MASK) == counter
    assert pack(ms) <= pack(ms, counter)
    assert ms == MAX_MS or pack(ms, counter) < pack(ms + 1)


@pytest.mark.parametrize(("ms", "counter"), [(-1, 0), (MAX_MS + 1, 0), (0, -1), (0, COUNTER_MASK + 1)])
def test_there_is_no_stamp_outside_its_bits(ms: int, counter: int) -> None:
    with pytest.raises(ValueError, match="no such HLC stamp"):
        pack(ms, counter)
