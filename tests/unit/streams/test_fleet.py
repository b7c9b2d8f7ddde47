"""What a person should look at in a fleet, by what the registry and the devices themselves say."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, Terms, enrolled, with_terms
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.spans import span
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.fleet import Heard, Member, fleet_of, versions_of

NOW = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def device(name: str = "store-1") -> Device:
    return enrolled(name, DeviceKey("k1", b"?" * 32, NOW - 90 * DAY), ("*",), ("*",), 0, 0)


def word(**said: Any) -> Heartbeat:
    usual: dict[str, Any] = {
        "device_id": "store-1",
        "replica": "store-1.a",
        "sent_ms": NOW,
        "connection": "ONLINE",
        "pending": 0,
        "oldest_pending_ms": 0,
        "disk_bytes": 1,
        "clock_skew_ms": 0,
        "versions": {"agent": "0.1.0"},
    }
    return Heartbeat(**usual | said)


def needs(heard: Heard | None, one: Device | None = None, *, cloned: bool = False) -> list[str]:
    return list(Member(one or device(), heard, cloned).needs(NOW, DAY))


def test_of_a_device_that_is_well_nothing_is_said() -> None:
    assert needs(Heard(word(), NOW - MINUTE)) == []
    assert needs(Heard(word(pending=3, oldest_pending_ms=NOW - MINUTE), NOW)) == []
    waiting = word(pending=3, oldest_pending_ms=NOW - 20 * DAY, connection="OFFLINE")
    assert needs(Heard(waiting, NOW)) == [], "offline for long is what it is made for"


@pytest.mark.parametrize(
    ("said", "ago", "told"),
    [
        ({"differing": ("retail/0/s1",)}, 0, "differs from the cloud in retail/0/s1"),
        ({"review": 2}, 0, "2 commands wait for a person"),
        ({"pending": 1, "oldest_pending_ms": NOW - 2 * HOUR}, 0, "its oldest command has waited 2.0 h"),
        ({}, 3 * DAY, "was not heard of for 3.0 d"),
        ({"clock_skew_ms": 10 * MINUTE}, 0, "its clock was 10.0 min ahead"),
        ({"clock_skew_ms": -10 * MINUTE}, 0, "its clock was 10.0 min behind"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_person_should_look_at(said: dict[str, Any], ago: int, told: str) -> None:
    (found,) = needs(Heard(word(**said), NOW - ago))
    assert told in found


def test_one_that_was_never_heard_of_and_one_that_may_be_copied() -> None:
    assert needs(None) == ["was never heard of"]
    assert "copied" in needs(None, cloned=True)[0]


def test_a_revoked_one_is_looked_at_while_it_still_speaks() -> None:
    gone = with_terms(device(), Terms(NOW - HOUR, DeviceStatus.REVOKED, ("*",), ("*",), 0, 0))
    assert needs(Heard(word(review=5), NOW - MINUTE), gone) == ["is revoked, and still speaks"]
    assert needs(Heard(word(review=5), NOW - 2 * HOUR), gone) == []
    assert needs(None, gone) == []


def test_a_topic_that_keeps_its_writers_times_does_not_tell_when() -> None:
    member = Member(device(), Heard(word(), UNTIMED))
    assert member.silent_ms(NOW) is None and list(member.needs(NOW, DAY)) == []


def test_only_who_is_enrolled_is_of_the_fleet() -> None:
    heard = {"store-1": Heard(word(), NOW), "stranger": Heard(word(device_id="stranger"), NOW)}
    members = fleet_of([device(), device("store-2")], heard, ["store-2"])
    assert [(m.device.device_id, m.heard is not None, m.cloned) for m in members] == [
        ("store-1", True, False),
        ("store-2", False, True),
    ]


def test_versions_are_counted_over_active_devices() -> None:
    gone = with_terms(device("store-3"), Terms(NOW - HOUR, DeviceStatus.REVOKED, ("*",), ("*",), 0, 0))
    heard = {
        "store-1": Heard(word(versions={"agent": "1", "space retail": "aa"}), NOW),
        "store-2": Heard(word(versions={"agent": "2", "space retail": "aa"}), NOW),
        "store-3": Heard(word(versions={"agent": "0"}), NOW),
    }
    found = versions_of(fleet_of([device("store-2"), device(), gone], heard, []))
    assert found == {
        ("agent", "1"): ["store-1"],
        ("agent", "2"): ["store-2"],
        ("space retail", "aa"): ["store-1", "store-2"],
    }


def test_an_app_that_names_no_version_is_told_as_such() -> None:
    heard = {
        "store-1": Heard(word(versions={"agent": "1", "app": "shop"}), NOW),
        "store-2": Heard(word(versions={"agent": "1", "app": "shop", "app shop": "1.3"}), NOW),
    }
    found = versions_of(fleet_of([device(), device("store-2")], heard, []))
    assert {place: names for place, names in found.items() if place[0] == "app shop"} == {
        ("app shop", ""): ["store-1"],
        ("app shop", "1.3"): ["store-2"],
    }


@pytest.mark.parametrize(("ms", "text"), [(0, "0 s"), (59_000, "59 s"), (90_000, "1.5 min"), (DAY, "1.0 d")])
def test_a_length_of_time(ms: int, text: str) -> None:
    assert span(ms) == text
