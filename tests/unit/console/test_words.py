"""What a page says of values, times and people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_console import words
from driftlog_schemas.contract import Json
from tests.unit.console.conftest import TEA, conflict, version


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (-5, "0 seconds"),
        (1, "1 second"),
        (61, "1 minute 1 second"),
        (3600, "1 hour"),
        (3660, "1 hour 1 minute"),
        (90_000, "1 day 1 hour"),
        (86_400 * 400, "400 days"),
    ],
)
def test_a_length_of_time(seconds: float, text: str) -> None:
    assert words.length(seconds) == text


def test_times_that_no_calendar_has_are_numbers() -> None:
    assert words.moment(0) == "not known"
    assert words.moment(1_764_000_000_000) == "2025-11-24 16:00:00 UTC"
    assert words.moment(1 << 62) == f"{1 << 62} ms"


def test_a_deadline() -> None:
    assert words.until(0, 5) == "no deadline"
    assert words.until(61_000, 1000) == "1 minute left"
    assert words.until(1000, 61_000) == "over since 1 minute"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tea", "tea"),
        ("", "(empty text)"),
        (None, "(nothing)"),
        (2**60, str(2**60)),
        ({"b": 1, "a": [True]}, '{"a":[true],"b":1}'),
    ],
)
def test_values_are_rendered_here_whole_numbers_too(value: Json, text: str) -> None:
    assert words.shown(value) == text


def test_a_card_names_who_what_they_had_not_seen_and_a_clock_that_was_off() -> None:
    ahead = version(1, actor="Anna", append_ms=1_000_000, hlc=8_200_000 << 16)
    first, second = words.cards(conflict(TEA, "price", ahead, version(2, "store-2.b2c3d4e5")))
    assert (first.who, first.device, first.stands, second.stands) == ("Anna", "till-7", True, False)
    assert first.skew == "its clock was 2 hours ahead"
    assert first.unseen == ("2, as store-2 set it",)
    assert second.unseen == ("1, as Anna at till-7 set it",)
    assert (second.who, second.skew) == ("store-2", "")
    omitted = replace(conflict(), omitted=3)
    assert words.cards(omitted)[0].unseen[-1] == "3 more versions that are not listed here"


def test_of_records_the_parts_that_differ_are_marked() -> None:
    found = conflict(TEA, "", version({"a": 1, "b": 2}), version({"a": 1, "b": 3, "c": None}, "store-2.b2c3d4e5"))
    first, second = words.cards(found)
    assert [(cell.name, cell.text, cell.differs) for cell in first.cells] == [
        ("a", "1", False),
        ("b", "2", True),
        ("c", "(nothing)", False),
    ]
    assert [cell.differs for cell in second.cells] == [False, True, False]
    assert words.place(found) == "the whole record"


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("12", 5, 12),
        ("12", "x", "12"),
        ("two\r\nlines", "one", "two\nlines"),
        ("two\r\nlines", "were\r\ntwo", "two\r\nlines"),
        ("twelve", 5, "twelve"),
        ('{"a": 1}', {}, {"a": 1}),
        ("[" * 100_000, 5, "[" * 100_000),
    ],
)
def test_what_was_typed_becomes_a_value_of_the_kind_that_is_there(text: str, like: Json, value: Json) -> None:
    assert words.typed(text, like) == value


@pytest.mark.parametrize(
    "value", ["", "tea", "two\nlines", "\u202etea", "  tea ", None, 7, 2**60, {"b": [1, None]}, [True]]
)
def test_what_a_page_gives_to_be_edited_is_read_back_as_the_value(value: Json) -> None:
    assert words.typed(words.editable(value).replace("\n", "\r\n"), value) == value


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("b\u202eob", "b\\u202eob"),
        ("te\u200ba", "te\\u200ba"),
        ("te\u200da", "te\\u200da"),
        ("\ufefftea\x00", "\\ufefftea\\x00"),
        ("two\r\nlines,\tand\rmore", "two\r\nlines,\tand\\rmore"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f469\u200d\U0001f467"),
        ("J\xfcrgen \xb7 \u65e5\u672c", "J\xfcrgen \xb7 \u65e5\u672c"),
        (7, 7),
    ],
)
def test_what_nobody_sees_is_shown_as_its_code_and_spelling_is_left(text: object, seen: object) -> None:
    assert words.visible(text) == seen
