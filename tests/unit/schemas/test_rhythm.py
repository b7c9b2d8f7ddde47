"""Rhythms as people write them."""

from __future__ import annotations

import pytest

from driftlog_schemas.rhythm import LONGEST_SECONDS, NOW, ON_WIFI, rhythm_of, text_of


@pytest.mark.parametrize("text", ["now", "1s", "90s", "5m", "1h", "36h", "2d", "366d", "on_wifi"])
def test_a_rhythm_is_told_as_it_was_written(text: str) -> None:
    rhythm = rhythm_of(text)
    assert rhythm is not None
    assert text_of(rhythm) == text


@pytest.mark.parametrize(
    "text", ["", "often", "0s", "5", "-5m", "1.5m", "500ms", "367d", "9" * 20 + "d", "ON_WIFI", "5m\n", "\u0665m"]
)
def test_what_is_none_is_none(text: str) -> None:
    assert rhythm_of(text) is None


def test_the_more_urgent_of_two_is_the_smaller() -> None:
    assert NOW < 1 <= LONGEST_SECONDS < ON_WIFI
    assert rhythm_of("300s") == rhythm_of("5m") == 300
