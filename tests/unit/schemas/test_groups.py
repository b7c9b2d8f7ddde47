"""The marks of a state record: written by workers, and read from anybody's record without ever failing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.groups import FOREIGN, GROUP, LAST, GroupMark, headers, parse


@given(st.integers(0, (1 << 63) - 1), st.booleans())
def test_a_mark_comes_back_as_it_went_in(number: int, last: bool) -> None:
    assert parse(headers(number, last=last)) == GroupMark(number, last)


def test_nothing_is_written_about_what_is_not() -> None:
    assert headers(7, last=False) == [(GROUP, b"7")]


def test_a_group_without_an_offset_is_a_defect_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        headers(-1, last=True)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        [(LAST, b"1")],
        [(GROUP, None)],
        [(GROUP, b"")],
        [(GROUP, b"-1")],
        [(GROUP, b"1e3")],
        [(GROUP, b"9" * 20)],
        [(GROUP, b"9" * 19)],
        [(GROUP, b"9" * 5000)],
        [(GROUP, "²".encode())],
    ],
)
def test_a_record_that_no_worker_wrote_is_a_group_of_its_own(found: list[tuple[str, bytes | None]] | None) -> None:
    assert parse(found) == FOREIGN


names = st.sampled_from([GROUP, LAST, "traceparent"])
anything = st.none() | st.binary(max_size=30) | st.sampled_from([b"7", b"1"])


@given(st.lists(st.tuples(names, anything), max_size=6))
def test_reading_a_mark_never_fails(found: list[tuple[str, bytes | None]]) -> None:
    mark = parse(found)
    assert mark.number >= -1
    assert mark.number >= 0 or mark == FOREIGN


def test_other_headers_are_passed_over() -> None:
    assert parse([("traceparent", b"00-ab"), *headers(7, last=True)]) == GroupMark(7, True)
