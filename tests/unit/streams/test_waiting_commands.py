"""Commands that wait for a person at devices, as one list: in which order, what a filter takes, and what a person may type."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from driftlog_schemas.devices import DeviceStatus, Terms, with_terms
from driftlog_schemas.messages import WaitingCommand
from driftlog_streams.reading.conflict_lists import Filter
from driftlog_streams.reading.fleet import Heard, Member
from driftlog_streams.reading.waiting_commands import DUE_MS, Unnamed, data_of, taken, waiting_in
from tests.unit.streams.test_fleet import DAY, HOUR, NOW, device, word

TOLD = WaitingCommand("review", "c1", "sell", "Anna", "Stock", "s1", "tea", 1, "gone", "it is gone", NOW)


def says(name: str, *commands: WaitingCommand, **more: Any) -> Member:
    counts = {kind: sum(one.kind == kind for one in commands) for kind in ("review", "rejected")}
    return Member(device(name), Heard(word(device_id=name, waiting=commands, **(counts | more)), NOW))


def test_the_oldest_on_review_lists_come_first_and_the_newest_rejected_ones_last() -> None:
    found = waiting_in(
        [
            says(
                "a", TOLD._replace(command_id="young"), TOLD._replace(kind="rejected", command_id="x", at_ms=NOW - DAY)
            ),
            says(
                "b", TOLD._replace(command_id="old", at_ms=NOW - HOUR), TOLD._replace(kind="rejected", command_id="y")
            ),
            Member(device("never")),
        ]
    )
    assert [one.id for one in found.entries] == ["b/old", "a/young", "b/y", "a/x"]
    assert found.entries[0].order_ms == NOW - HOUR + DUE_MS, (
        "among conflicts it stands as if it had to be decided within a day"
    )
    assert found.unnamed == ()


def test_what_a_device_did_not_name_is_counted() -> None:
    older_release = says("old", review=3)
    more = says("new", TOLD, TOLD._replace(kind="rejected", command_id="c2"), review=1, rejected=5)
    assert waiting_in([older_release, more]).unnamed == (
        Unnamed("old", "review", 3, NOW),
        Unnamed("new", "rejected", 4, NOW),
    )


def test_of_a_device_that_may_write_no_more_nothing_waits() -> None:
    line = with_terms(device("a"), Terms(NOW, DeviceStatus.REVOKED, ("*",), ("*",)))
    assert waiting_in([Member(line, Heard(word(device_id="a", waiting=(TOLD,), review=2), NOW))]).entries == ()


def test_a_name_twice_is_one_entry() -> None:
    assert len(waiting_in([says("a", TOLD, TOLD, TOLD._replace(code="other"))]).entries) == 1


@pytest.mark.parametrize(
    ("asked", "kind", "found"),
    [
        ({}, "", {"a/c1", "b/c2"}),
        ({}, "rejected", {"b/c2"}),
        ({"scope": "s1"}, "", {"a/c1"}),
        ({"collection": "Price"}, "", {"b/c2"}),
        ({"device": "b"}, "", {"b/c2"}),
        ({"actor": "Anna"}, "", {"a/c1"}),
        ({"command": "c2"}, "", {"b/c2"}),
        ({"field": "price"}, "", set()),
        ({"since": str(NOW)}, "", {"a/c1"}),
        ({"until": str(NOW)}, "", {"b/c2"}),
    ],
)
def test_a_filter_takes_what_it_says(asked: dict[str, str], kind: str, found: set[str]) -> None:
    other = WaitingCommand("rejected", "c2", "", "", "Price", "s2", "milk", 1, "no", "may not", NOW - 1)
    entries = waiting_in([says("a", TOLD), says("b", other)]).entries
    assert {one.id for one in taken(entries, Filter.of(asked), kind)} == found


@pytest.mark.parametrize("command_id", ["c1", "a b", "$(rm -rf ~)", "'", "-x", "--help"])
def test_what_is_to_be_typed_names_the_command_and_nothing_else(command_id: str) -> None:
    (entry,) = waiting_in([says("a", TOLD._replace(command_id=command_id))]).entries
    applies, drops = entry.acts
    for typed, verb in ((applies, "apply"), (drops, "drop")):
        words = shlex.split(typed)
        assert words[:4] == ["driftlog", "edge", "review", verb] and words[-1] == command_id
        assert (words[4:-1] == ["--"]) == command_id.startswith("-")
    (seen,) = waiting_in([says("a", TOLD._replace(kind="rejected"))]).entries[0].acts
    assert seen == "driftlog edge rejected seen c1"


def test_a_program_is_given_all_of_it() -> None:
    (entry,) = waiting_in([says("a", TOLD)]).entries
    data = data_of(entry)
    assert data == {"device_id": "a", **TOLD._asdict(), "heard_ms": NOW, "acts": list(entry.acts)}
