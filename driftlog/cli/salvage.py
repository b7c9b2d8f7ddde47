"""`driftlog edge salvage`: what a damaged folder still holds, in a new one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from driftlog.cli.drawing import emit, err, facts, rows
from driftlog.cli.extras import needs
from driftlog.cli.terminal import AppOption, Config, Json, told
from driftlog_schemas.loading import load_contract

if TYPE_CHECKING:
    from driftlog_edge.salvage.report import Report

SHOWN = 20
"""Lines of each table; `--json` has all of them."""


@told
def salvage(
    app: AppOption,
    folder: Annotated[Path, typer.Option("--from", help="The damaged data_dir; it stays as it is.")],
    to: Annotated[Path, typer.Option("--to", help="The new data_dir, not there yet.")],
    config: Config = None,
    encryption_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that wraps the folder's data key.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring what a damaged folder still holds into a new one. Example: driftlog edge salvage --from replica --to replica.new --app shop:app

    Name the new folder as data_dir and start the agent: what was never sent goes out, each command once. Keep the damaged one until that is done.
    """
    needs("edge", "`driftlog edge salvage`")
    from driftlog_edge import EdgeConfig
    from driftlog_edge.salvage.run import salvage as salvaged
    from driftlog_edge.store.wrapping import wrapping_keys

    contract = load_contract(app)
    # Of the settings only the wrapping key is asked for.
    missing = {} if config else {"identity": Path("identity.json"), "scopes": ["none"]}
    settings = EdgeConfig.load(config, data_dir=folder, encryption_key_file=encryption_key_file, **missing)
    wrapping = asyncio.run(wrapping_keys(settings))
    bar = Progress(TextColumn("salvaging"), BarColumn(), MofNCompleteColumn(), console=err, disable=not err.is_terminal)
    with bar:
        task = bar.add_task("", total=None)
        report = salvaged(contract, folder, to, wrapping, lambda done, of: bar.update(task, completed=done, total=of))
    emit(report.facts() | {"to": str(to)}, as_json=json, table=lambda: Group(*_tables(report, to)))


def _tables(report: Report, to: Path) -> list[Table]:
    found = [
        facts(
            f"salvaged into {to}",
            {
                "decided": f"{report.decided} commands, with their answers",
                "undecided": f"{report.undecided} commands; they go out, unless the cloud has them",
                "for a person": f"{report.review} commands: driftlog edge review list",
                "lost": f"{report.lost_count} commands of which only the number is known",
                "unknown": f"{report.unknown_count} commands before all that can be read: each was decided, or is lost",
                "newest": f"command {report.newest}; of what came after it, if anything did, nothing is known",
                "documents": f"{report.rows}; all are read again from the cloud",
                "damaged rows": f"{report.refetched_count} documents to be had from the cloud alone",
            },
        )
    ]
    if report.lost:
        found.append(rows("lost commands", ("from number", "to"), report.lost[:SHOWN]))
    if report.unknown:
        found.append(rows("decided or lost", ("from number", "to"), report.unknown[:SHOWN]))
    if report.refetched:
        found.append(rows("to be had from the cloud", ("document",), [(name,) for name in report.refetched[:SHOWN]]))
    if report.troubles:
        found.append(rows("could not be read", ("what",), [(what,) for what in report.troubles[:SHOWN]]))
    return found
