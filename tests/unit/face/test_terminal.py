"""What the command line shows of times that anybody may have written."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from driftlog.cli import edge_settings
from driftlog.cli.drawing import rows
from driftlog.cli.texts import moment
from driftlog_edge.settings_change import CHANGEABLE, TABLES


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


@pytest.mark.parametrize("width", [12, 20, 40, 55, 56, 80])
def test_a_list_of_many_columns_has_all_of_each_row_on_any_terminal(width: int) -> None:
    columns = ("id", "document", "field", "stands", "against", "status", "decide until", "decided by")
    values = ("149563a2c453d8e60c3432aa", "Stock/s1/tea", "price", "[b]4", "3", "open", "2026-09-21T14:13:20", "Carl")
    console = Console(width=width, file=StringIO())
    console.print(rows("conflicts", columns, [values, values]))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is ours
    assert all(len(line) <= width for line in lines)
    if width < 56:
        text = "".join("".join(lines).split())
        assert all(
            text.count(f"{name}:{value}".replace(" ", "")) == 2 for name, value in zip(columns, values, strict=True)
        )
    else:
        cells = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
        assert ["".join(part.strip() for part in parts) for parts in zip(*cells, strict=True)] == [
            v * 2 for v in values
        ]


def test_the_table_of_settings_has_each_that_may_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: {"part": f"of {name}"} if name in (*TABLES, "sync") else f"the {name}" for name in CHANGEABLE}
    monkeypatch.setattr(edge_settings, "call", lambda *_: found)
    shown = CliRunner().invoke(edge_settings.app, ["get"]).stdout
    for name, value in found.items():
        assert f"of {name}" in shown and f"{name}.part" in shown if isinstance(value, dict) else value in shown, shown
