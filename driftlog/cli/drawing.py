"""What people are shown of results: tables, drawn with rich. A process that runs for months draws none, and does not import this."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from driftlog.cli.texts import MOST_IN_A_LINE, MOST_ON_A_PAGE, printable

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

LEAST_OF_A_COLUMN = 7
"""Characters with its border: what it folds into less is complete, and nobody can read it."""


def emit(data: Any, *, as_json: bool, table: Callable[[], RenderableType]) -> None:
    """Print `data` as JSON, or what `table` makes of it."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
    else:
        out.print(table())


class _Rows(Table):
    """A table, or on a terminal too narrow for its columns each row as lines of their own: a column of three characters is read by nobody."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= LEAST_OF_A_COLUMN * len(self.columns):
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold")
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield Text()
            for column, cell in zip(self.columns, cells, strict=True):
                yield Text.assemble((f"{column.header}: ", "bold"), cast(Text, cell), overflow="fold")


def rows(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]], limit: int = MOST_IN_A_LINE) -> Table:
    """A plain table. What stands in it is text as it is: brackets in a value are no markup, and nothing drives the terminal. Where the terminal
    is narrow it is folded, never cut: an id that lacks its end is of no use. Only what is longer than any name is.
    """
    result = _Rows(title=Text(printable(title)), title_justify="left")
    for column in columns:
        result.add_column(column, overflow="fold")
    for line in lines:
        result.add_row(*(Text("" if cell is None else printable(str(cell), limit)) for cell in line))
    return result


def facts(title: str, items: Mapping[str, object]) -> Table:
    """A table of names and values."""
    return rows(title, ("what", "value"), items.items(), MOST_ON_A_PAGE)
