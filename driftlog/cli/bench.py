"""`driftlog bench`: the project's benchmarks beside their baselines.

The benchmarks are part of the repository, not of the installed package: they start brokers, want test data, and say what this
version costs on this machine. So this command finds them in a clone, runs them there, and prints what they found.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.text import Text

import driftlog
from driftlog.cli.drawing import emit, err
from driftlog.cli.extras import needs
from driftlog.cli.terminal import Json, fail, told

if TYPE_CHECKING:
    from benchmarks.row import Spread
    from benchmarks.suite import Module, Outcome

app = typer.Typer(rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Which to run: a benchmark, a case, or a pattern such as 'algebra/apply/*'. All, if none is given."
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Run all of the code on tiny sizes; the figures say nothing.")]
Large = Annotated[
    bool,
    typer.Option(
        "--large", help="Measure once, at the sizes that the aims name (a million ops, documents): minutes each."
    ),
]
Listed = Annotated[bool, typer.Option("--list", help="Only say what there is.")]
Check = Annotated[bool, typer.Option("--check", help="End with 1 if an aim is missed.")]


@app.command()
@told
def bench(
    names: Names = None,
    json: Json = False,
    quick: Quick = False,
    large: Large = False,
    listed: Listed = False,
    check: Check = False,
) -> None:
    """Measure, each case and its baseline by turns. Needs a clone of the repository.

    Example: driftlog bench algebra --quick
    """
    if quick and large:
        fail("--quick and --large are two sizes", "give one of them")
    suite = load_suite()
    try:
        chosen: list[Module] = suite.select(suite.discover(), names or [])
    except KeyError as error:
        fail(f"there is no benchmark {error.args[0]}", "`driftlog bench --list` says what there is")
    if listed:
        data = [{"benchmark": m.name, "about": m.about, "cases": [c.name for c in m.cases]} for m in chosen]
        emit(data, as_json=json, table=lambda: _listing(chosen))
        return
    outcomes = _run(suite, chosen, quick, large)
    emit([outcome.as_json() for outcome in outcomes], as_json=json, table=lambda: _table(outcomes, quick))
    if failed := [outcome for outcome in outcomes if outcome.error is not None]:
        for outcome in failed:
            err.print("".join(traceback.format_exception(outcome.error)), markup=False)
        fail(f"could not measure {', '.join(outcome.name for outcome in failed)}", "what they raised stands above")
    if check and (missed := [outcome.name for outcome in outcomes if outcome.met is False]):
        fail(
            f"missed the aim: {', '.join(missed)}", "run it again on a quiet machine, or profile what has become slower"
        )


def load_suite() -> Any:
    """The module `benchmarks.suite` of the clone that we run from."""
    roots = (Path.cwd(), Path(driftlog.__file__).parents[1])
    root = next((root for root in roots if (root / "benchmarks" / "suite.py").is_file()), None)
    if root is None:
        fail("the benchmarks are not here", "they come with the repository: clone it, and run `make bench` there")
    needs("edge,streams,broker", "`driftlog bench`")
    sys.path.insert(0, str(root))
    return importlib.import_module("benchmarks.suite")


def _run(suite: Any, chosen: Sequence[Module], quick: bool, large: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    total = sum(len(module.cases) for module in chosen)
    with Status("starting", console=err) as screen:  # shows nothing where standard error is no terminal

        def say(text: str) -> None:
            screen.update(escape(f"[{len(outcomes) + 1}/{total}] {text}"))

        for outcome in suite.run(chosen, quick=quick, large=large, say=say):
            outcomes.append(outcome)
            err.print(f"[{len(outcomes)}/{total}] {_line(outcome)}", markup=False, soft_wrap=True)
    return outcomes


def _line(outcome: Outcome) -> str:
    row = outcome.row
    if row is None:
        return f"{outcome.name}: {'skipped, ' + outcome.skipped if outcome.skipped else 'failed'}"
    ratio = "" if row.ratio is None else f", {figure(row.ratio)} times {row.baseline_name}"
    return f"{outcome.name}: {figure(row.ours.median)} {row.unit}{ratio}"


def _listing(chosen: Sequence[Module]) -> Table:
    table = Table(title="benchmarks", title_justify="left")
    table.add_column("case", overflow="fold")
    for column in ("unit", "baseline", "aim"):
        table.add_column(column)
    for module in chosen:
        table.add_section()
        table.add_row(Text(module.name, style="bold"), "", Text(module.about, style="dim"), "")
        for case in module.cases:
            table.add_row(f"  {case.name}", case.unit, case.baseline_name, case.aim.text if case.aim else "")
    return table


def _table(outcomes: Sequence[Outcome], quick: bool) -> Table:
    table = Table(title="benchmarks" + (" (quick: the figures say nothing)" if quick else ""), title_justify="left")
    table.add_column("case", overflow="fold")
    table.add_column("ours", justify="right", no_wrap=True)
    table.add_column("baseline", justify="right")
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("aim", no_wrap=True)
    table.add_column("met")
    group = ""
    for outcome in outcomes:
        row, aim = outcome.row, outcome.case.aim
        module, _, name = outcome.name.partition("/")
        if module != group:
            group = module
            table.add_section()
            table.add_row(Text(module, style="bold"))
        if row is None:
            table.add_row(f"  {name}", "skipped" if outcome.skipped else "failed", outcome.skipped)
            continue
        facts = "".join(f"\n    {fact}: {value}" for fact, value in row.facts.items())
        table.add_row(
            Text(f"  {name}").append(facts, style="dim"),
            _with(f"{figure(row.ours.median)} {row.unit}", "" if row.ratios else _range(row.ours)),
            _with(f"{figure(row.baseline.median)} {row.unit}", row.baseline_name) if row.baseline else "",
            _with(figure(row.ratios.median), _range(row.ratios)) if row.ratios else "",
            aim.text if aim else "",
            {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[outcome.met],
        )
    return table


def _with(text: str, below: str) -> Text:
    return Text(text).append(f"\n{below}", style="dim") if below else Text(text)


def _range(spread: Spread) -> str:
    """The lowest and the highest, where they differ."""
    return f"{figure(spread.low)} .. {figure(spread.high)}" if spread.low != spread.high else ""


def figure(value: float) -> str:
    """Three digits that count: 12,345 and 12.3 and 0.0123."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
