"""What the command line shows of times that anybody may have written."""

from __future__ import annotations

import pytest

from driftlog.cli.terminal import moment


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (1_790_000_000_000, "2026-09-21T14:13:20.000+00:00"),
        (1 << 48, f"{1 << 48} ms"),
        (1 << 62, f"{1 << 62} ms"),
        (-(1 << 62), f"{-(1 << 62)} ms"),
    ],
)
def test_a_time_that_no_calendar_has_is_shown_as_its_number(ms: int, shown: str) -> None:
    assert moment(ms) == shown
