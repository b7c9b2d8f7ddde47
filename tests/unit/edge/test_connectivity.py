"""A flickering link does not make a flickering agent; waiting grows, but not for ever."""

from __future__ import annotations

import random

import pytest

from driftlog_edge.link.connectivity import (
    BACKOFF_CAP_SECONDS,
    GIVE_UP_SECONDS,
    SETTLE_SECONDS,
    STALL_SECONDS,
    Connection,
    Connectivity,
    Watchdog,
    backoff,
)
from driftlog_edge.link.heartbeats import APART_SECONDS, FIRST_SECONDS, LONGEST_SECONDS, Pulse

ONLINE, DEGRADED, TRANSITIONING, OFFLINE = (
    Connection.ONLINE,
    Connection.DEGRADED,
    Connection.TRANSITIONING,
    Connection.OFFLINE,
)


def after(*events: tuple[str, float]) -> Connection:
    machine = Connectivity()
    for event, now in events:
        getattr(machine, event)(now)
    return machine.state


UP = (("success", 0.0), ("success", SETTLE_SECONDS))


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), OFFLINE),
        ((("success", 0.0),), TRANSITIONING),
        ((("success", 0.0), ("success", SETTLE_SECONDS - 0.1)), TRANSITIONING),
        ((("success", 0.0), ("failure", 0.1)), OFFLINE),
        (UP, ONLINE),
        ((*UP, ("failure", 5.0)), DEGRADED),
        ((*UP, ("failure", 5.0), ("success", 5.1)), ONLINE),
        ((*UP, ("failure", 5.0), ("failure", 5.0 + GIVE_UP_SECONDS - 0.1)), DEGRADED),
        ((*UP, ("failure", 5.0), ("failure", 5.0 + GIVE_UP_SECONDS)), OFFLINE),
        ((*UP, ("failure", 5.0), ("failure", 15.0), ("success", 16.0)), TRANSITIONING),
        ((("failure", 0.0), ("failure", 100.0)), OFFLINE),
    ],
)
def test_the_way_from_state_to_state(events: tuple[tuple[str, float], ...], state: Connection) -> None:
    assert after(*events) is state


def test_told_to_stay_off_it_stays_off_whatever_the_clients_say() -> None:
    machine = Connectivity()
    for event, now in UP:
        getattr(machine, event)(now)
    machine.force_offline(True, 3.0)
    machine.success(4.0)
    machine.success(40.0)
    assert machine.state is OFFLINE

    machine.force_offline(False, 50.0)
    machine.success(51.0)
    assert machine.state is TRANSITIONING


def test_a_pause_is_anything_up_to_a_bound_that_doubles_to_five_minutes() -> None:
    bounds = [backoff(attempt, lambda: 1.0, base=0.2) for attempt in range(1, 40)]
    assert bounds[:4] == [0.4, 0.8, 1.6, 3.2]
    assert bounds == sorted(bounds)
    assert bounds[-1] == BACKOFF_CAP_SECONDS == 300.0
    chance = random.Random(5)
    drawn = [backoff(6, chance.random) for _ in range(500)]
    assert min(drawn) < 0.05 * bounds[5] and max(drawn) > 0.95 * bounds[5]


def test_the_watchdog_barks_only_for_a_queue_that_stands_still() -> None:
    dog = Watchdog()
    assert not dog.stalled(0, 0.0)
    assert not dog.stalled(3, STALL_SECONDS - 1)
    dog.moved(STALL_SECONDS)
    assert not dog.stalled(3, 2 * STALL_SECONDS - 1)
    assert dog.stalled(3, 2 * STALL_SECONDS)
    assert not dog.stalled(0, 10 * STALL_SECONDS), "an empty queue may stand"
    assert not dog.stalled(1, 10 * STALL_SECONDS + 1), "and its first entry has its whole time"


def test_heartbeats_come_now_and_then_and_when_the_connection_came_back() -> None:
    pulse = Pulse()
    assert not pulse.due(0.0, OFFLINE)
    assert pulse.due(1.0, ONLINE)
    pulse.sent(1.0)
    pulse.gone()
    assert not pulse.due(1.0 + FIRST_SECONDS - 1, ONLINE)
    assert pulse.due(1.0 + FIRST_SECONDS, ONLINE)
    pulse.sent(11.0)
    pulse.gone()
    assert not pulse.due(12.0, DEGRADED)
    assert not pulse.due(11.0 + APART_SECONDS - 0.1, ONLINE), "a flicker is not worth one"
    assert pulse.due(11.0 + APART_SECONDS, ONLINE)


def test_on_a_steady_link_heartbeats_come_less_often_and_after_a_change_as_before() -> None:
    pulse, now, pauses = Pulse(), 0.0, []
    for _ in range(8):
        since = now
        while not pulse.due(now, ONLINE):
            now += 1.0
        pauses.append(now - since)
        pulse.sent(now)
        pulse.gone()
    assert pauses == [0.0, FIRST_SECONDS, 20.0, 40.0, 80.0, 160.0, LONGEST_SECONDS, LONGEST_SECONDS]
    assert not pulse.due(now + 1, OFFLINE)
    pulse.sent(now + 5)
    pulse.gone()
    assert pulse.due(now + 5 + FIRST_SECONDS, ONLINE)


def test_there_is_never_more_than_one_heartbeat_on_its_way() -> None:
    pulse = Pulse()
    assert pulse.due(0.0, ONLINE)
    pulse.sent(0.0)
    assert not pulse.due(1000.0, ONLINE)
    pulse.gone()
    assert pulse.due(1000.0, ONLINE)


def test_on_a_low_battery_heartbeats_come_as_on_a_steady_link_whatever_changes() -> None:
    pulse = Pulse()
    assert pulse.due(0.0, ONLINE, saving=True)
    pulse.sent(0.0)
    pulse.gone()
    assert not pulse.due(1.0, OFFLINE, saving=True)
    assert not pulse.due(LONGEST_SECONDS - 1, ONLINE, saving=True)
    assert pulse.due(LONGEST_SECONDS, ONLINE, saving=True)
    assert pulse.due(FIRST_SECONDS, ONLINE), "and with power at once again"
