"""What the command line shows of times that anybody may have written."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from driftlog.cli.terminal import moment, rows


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


@pytest.mark.parametrize("width", [20, 40, 79])
def test_what_does_not_fit_is_folded_and_never_cut(width: int) -> None:
    """An id without its end is of no use, and who pipes a list has no wide terminal."""
    name = "149563a2c453d8e60c3432aa"
    narrow = Console(width=width, file=StringIO())
    narrow.print(rows("conflicts", ("id", "document"), [(name, "Stock/s1/tea")]))
    shown = narrow.file.getvalue()  # type: ignore[attr-defined]  # it is ours
    cells = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")]
    assert "".join(cells) == name
    assert "…" not in shown
