"""Who may use the console: only what the list says, and from the moment at which it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driftlog_console import people as module
from driftlog_console.errors import PeopleProblem
from driftlog_console.people import FILE, People, Right
from driftlog_console.sessions import SECONDS, Sessions


def test_a_token_is_told_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    people = People(tmp_path)
    token = people.add("anna", [Right.DECIDE], ["s1"])
    kept = tmp_path / FILE
    assert token not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    anna = People(tmp_path).with_token(token)
    assert anna is not None
    assert (anna.name, anna.rights, anna.scopes) == ("anna", (Right.VIEW, Right.DECIDE), ("s1",))
    assert (anna.may(Right.DECIDE, "s1"), anna.may(Right.DECIDE, "s2"), anna.may(Right.OPERATE)) == (True, False, False)
    assert people.with_token(token + "x") is None
    assert people.with_token("") is None


def test_without_more_words_a_person_may_only_look(tmp_path: Path) -> None:
    people = People(tmp_path)
    person = people.with_token(people.add("bob"))
    assert person is not None
    assert [right for right in Right if person.may(right)] == [Right.VIEW]
    assert person.sees("any scope")


def test_another_token_ends_the_one_before_and_a_removed_person_is_out_at_once(tmp_path: Path) -> None:
    people, seen = People(tmp_path), People(tmp_path)
    first = people.add("anna")
    assert seen.with_token(first) is not None
    second = people.add("anna", [Right.OPERATE])
    assert seen.with_token(first) is None
    assert seen.with_token(second) is not None
    people.remove("anna")
    assert seen.with_token(second) is None
    with pytest.raises(PeopleProblem, match="nobody called 'anna'"):
        people.remove("anna")


@pytest.mark.parametrize("name", ["", " anna", "a" * 64, "an\nna", "<b>"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PeopleProblem, match="cannot name a person"):
        People(tmp_path).add(name)
    assert not (tmp_path / FILE).exists()


def test_a_scope_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeopleProblem, match="cannot be one"):
        People(tmp_path).add("anna", (), ["x" * 600])


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '[{"name": "a"}]', '[{"name": "a", "digest": "d", "rights": ["all"]}]']
)
def test_a_list_that_is_damaged_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(PeopleProblem, match="cannot be read"):
        People(tmp_path).with_token("x")


def test_the_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    people = People(tmp_path)
    people.add("a"), people.add("b")
    with pytest.raises(PeopleProblem, match="2 people"):
        people.add("c")
    people.add("a")
    assert [person.name for person in people.all()] == ["a", "b"]


def test_the_first_one_may_do_everything_and_there_is_only_one_first(tmp_path: Path) -> None:
    people = People(tmp_path)
    path = people.first()
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    operator = people.with_token(path.read_text().strip())
    assert operator is not None
    assert all(operator.may(right, "s1") for right in Right)
    assert people.first() is None


def test_a_list_in_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PeopleProblem, match="cannot be read"):
        People(tmp_path / "file" / "below").add("anna")
    (tmp_path / f"{FILE}.new").mkdir()
    with pytest.raises(PeopleProblem, match="cannot be written"):
        People(tmp_path).add("anna")


def test_a_session_ends_by_time_by_removal_and_by_another_token(tmp_path: Path) -> None:
    people, now = People(tmp_path), [0.0]
    sessions = Sessions(people, lambda: now[0])

    def signed_in() -> str:
        person = people.with_token(people.add("anna"))
        assert person is not None
        return sessions.begin(person)

    key = signed_in()
    assert sessions.person(key) is not None
    assert sessions.person("") is None
    now[0] = SECONDS
    assert sessions.person(key) is None

    key = signed_in()
    people.add("anna", [Right.DECIDE])
    assert sessions.person(key) is None

    key = signed_in()
    people.remove("anna")
    assert sessions.person(key) is None

    key = signed_in()
    sessions.end(key)
    assert sessions.person(key) is None


def test_sessions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_console.sessions.MOST", 3)
    people = People(tmp_path)
    person = people.with_token(people.add("anna"))
    assert person is not None
    sessions = Sessions(people, lambda: 0.0)
    keys = [sessions.begin(person) for _ in range(5)]
    assert [sessions.person(key) is not None for key in keys] == [False, False, True, True, True]


def test_what_is_written_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    People(tmp_path).add("anna", [Right.DECIDE], ["s1", "s2"])
    (line,) = json.loads((tmp_path / FILE).read_text())
    assert {name: line[name] for name in ("name", "rights", "scopes")} == {
        "name": "anna",
        "rights": ["view", "decide"],
        "scopes": ["s1", "s2"],
    }
