"""Texts are measured in bytes, refused by name, and cut where they are ours to cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.bounds import MAX_REASON, OutOfBounds, check_text, cut


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("x" * 513, "513 bytes"),
        ("ü" * 257, "514 bytes"),
        ("", "0 bytes"),
        ("a\0", "NUL"),
        ("\ud800" * 200, "surrogate"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_text_out_of_bounds_is_named(text: str, fact: str) -> None:
    with pytest.raises(OutOfBounds, match=fact) as caught:
        check_text("scope", text, 512, least=1)
    assert caught.value.field == "scope"


@pytest.mark.parametrize("text", ["x", "x" * 512, "ü" * 256, "漢" * 170])
def test_a_text_within_them_passes(text: str) -> None:
    check_text("scope", text, 512, least=1)


@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_a_cut_text_fits_and_begins_like_the_whole(text: str) -> None:
    short = cut(text, MAX_REASON)
    assert len(short.encode()) <= MAX_REASON
    sayable = text.encode(errors="replace").decode()
    assert short == sayable or sayable.startswith(short.removesuffix("…"))
