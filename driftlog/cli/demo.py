"""`driftlog demo`: the retail day on a real broker, nothing to configure."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from driftlog.cli.drawing import emit, err, out
from driftlog.cli.extras import needs
from driftlog.cli.terminal import Json, fail, told
from driftlog.demo.books import Answer, at_hand, close_books
from driftlog.demo.cast import Cast
from driftlog.demo.open_house import keep_open, open_console
from driftlog.demo.processes import DemoFailed
from driftlog.demo.story import DOCUMENTS, EXPECTED, Outcome, RetailDay
from driftlog_infra.errors import InfraError
from driftlog_infra.signals import interruptible

app = typer.Typer(rich_markup_mode=None)


@app.command()
@told
def demo(
    json: Json = False,
    keep: Annotated[
        bool, typer.Option("--console", help="Keep the day running, and open its console to decide the price.")
    ] = False,
    sql: Annotated[
        bool | None,
        typer.Option(
            "--sql/--no-sql",
            help="End with SQL over all stores' tables; by default where the extra postgres is installed and a PostgreSQL can be had.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Play a retail day: sales online and offline, a price conflict, a forged batch; then count, and ask in SQL.

    Example: driftlog demo --json

    Example: driftlog demo --console
    """
    extras = ["edge", "streams", "broker", *(["console"] if keep else []), *(["postgres"] if sql else [])]
    needs(",".join(extras), "`driftlog demo`")
    console = err if json else out
    begun, kept = time.monotonic(), False
    try:
        with interruptible(), Cast(lambda text: console.print(f"  {text}")) as cast:
            outcome = RetailDay(cast, console).play()
            answers = _books(cast, console, sql) if outcome.good else []
            _tell(outcome, answers, round(time.monotonic() - begun, 1), console, json)
            if keep:
                invitation, kept = open_console(cast), True
                keep_open(cast, invitation, lambda text: console.print(text, soft_wrap=True, markup=False))
    except (DemoFailed, InfraError) as error:
        fail(str(error), error.remedy)
    except KeyboardInterrupt:
        if not kept:  # else it is how such a day ends
            raise


def _books(cast: Cast, console: Console, wanted: bool | None) -> list[Answer]:
    """The report in SQL. Where nobody has asked for it, it is left out where none can be had: no network, or no place for it."""
    if wanted is False or (wanted is None and not at_hand()):
        return []
    console.rule("[bold]21:00  The books, in SQL", align="left")
    try:
        return close_books(cast)
    except InfraError as error:
        if wanted:
            raise
        console.print(f"  left out: {error.line}", soft_wrap=True, markup=False)
        return []


def _tell(outcome: Outcome, answers: list[Answer], seconds: float, console: Console, json: bool) -> None:
    emit(_data(outcome, answers, seconds), as_json=json, table=lambda: Group(*map(_answer, answers), _table(outcome)))
    if not outcome.good:
        fail("the replicas do not agree", "this is a defect: please report it with the table above")
    console.print(f"all replicas and the read model agree, to the unit ({seconds} s)")


def _answer(answer: Answer) -> RenderableType:
    """A question, its query, and what that gave."""
    found = Table(box=None, padding=(0, 2, 0, 2))
    for column in answer.columns:
        found.add_column(column)
    for row in answer.rows:
        found.add_row(*map(str, row))
    query = "\n".join(f"  {line}" for line in answer.query.splitlines())
    return Group(Text(answer.question), Text(query, style="dim"), found if answer.rows else Text("  (none)"), Text())


def _data(outcome: Outcome, answers: list[Answer], seconds: float) -> dict[str, object]:
    return {
        "agree": outcome.good,
        "documents": [
            {
                "document": f"Stock/{'/'.join(d)}",
                "agree": outcome.agree[d],
                "expected_on_hand": EXPECTED[d],
                "values": {place: cells[d] for place, cells in outcome.cells.items()},
            }
            for d in DOCUMENTS
        ],
        "conflict": outcome.conflict,
        "forged": outcome.forged,
        "refused": outcome.refused,
        "sql": [asdict(answer) for answer in answers],
        "seconds": seconds,
    }


def _table(outcome: Outcome) -> Table:
    # Without lines it fits a terminal of 80 columns.
    table = Table(title="what everybody has at the end", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("document", *outcome.cells, "counted", "same"):
        table.add_column(heading, no_wrap=True)
    for document in DOCUMENTS:
        cells = [f"{c[document]['on_hand']} at {c[document]['price']}" for c in outcome.cells.values()]
        mark = "[green]✓[/green]" if outcome.agree[document] else "[red]✗[/red]"
        table.add_row("/".join(document), *cells, str(EXPECTED[document]), mark)
    return table
