"""All commands. Each group is one module, imported only when it is called.

So `driftlog --help` is quick, and needs no library of a program that is not installed (see `extras`).
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import driftlog
from driftlog.cli import terminal
from driftlog.cli.terminal import UsageError

GROUPS: dict[str, tuple[str, str, str]] = {
    # name: (module[:attribute], extra, help)
    "demo": ("driftlog.cli.demo", "edge,streams,broker", "The retail day, end to end on a real broker."),
    "broker": (
        "driftlog_infra.cli:broker_app",
        "broker",
        "The embedded Apache Kafka and schema registry: up, down, status, fetch.",
    ),
    "topics": (
        "driftlog.cli.topics",
        "",
        "What would change on the broker, then change it: plan, apply, renumber, repartition.",
    ),
    "schemas": ("driftlog.cli.schemas", "", "Compatibility against what is registered: check, register."),
    "worker": ("driftlog.cli.worker", "streams", "The Faust workers that merge."),
    "edge": ("driftlog.cli.edge", "edge", "The agent beside the application: run, status, get, do, ..."),
    "devices": (
        "driftlog.cli.devices",
        "",
        "Who may write: enrol, enrol-cloud, list, show, revoke, wipe, renew, rotate-key.",
    ),
    "operator": ("driftlog.cli.operator", "", "Whose word the device registry is: init, rotate, show."),
    "conflicts": ("driftlog.cli.conflicts", "", "What people have to decide: list, show, resolve, export, rules."),
    "parked": ("driftlog.cli.parked", "", "What the cloud has set aside: list, show, retry, drop."),
    "fleet": ("driftlog.cli.fleet", "", "The devices as they say they are: list, versions, waiting, moves."),
    "console": (
        "driftlog.cli.console",
        "edge,streams,console",
        "The pages for people: conflicts to decide, the fleet, what is set aside.",
    ),
    "explain": ("driftlog.cli.explain", "streams", "The history of a document: who, when, what won and why."),
    "verify": ("driftlog.cli.verify", "streams", "Digests of every scope, edge against cloud."),
    "replay": ("driftlog.cli.replay", "streams", "The read model rebuilt from the op topic, and compared; dry runs."),
    "project": (
        "driftlog.cli.project",
        "postgres",
        "The read model as PostgreSQL tables, exactly once; rebuilt and swapped.",
    ),
    "doctor": ("driftlog.cli.doctor", "", "What is wrong with this set-up and how to mend it."),
    "bench": ("driftlog.cli.bench", "dev", "The project's benchmarks beside their baselines."),
}


class LazyGroup(TyperGroup):
    """Finds commands by name and imports their module when one is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return None
        place, extra, _ = GROUPS[cmd_name]
        module, _, attribute = place.partition(":")
        try:
            app: typer.Typer = getattr(importlib.import_module(module), attribute or "app")
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0].startswith("driftlog"):
                raise
            terminal.fail(f"`driftlog {cmd_name}` needs {error.name}", f'pip install "driftlog[{extra or "dev"}]"')
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in GROUPS.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Edge-to-cloud replication on Kafka.\n\nExample: driftlog demo",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"driftlog {driftlog.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Tell the version and end.")
    ] = False,
) -> None:
    """Edge-to-cloud replication on Kafka. Example: driftlog demo"""


def main() -> None:
    """Run the command that was typed."""
    try:
        code = app(prog_name="driftlog", standalone_mode=False)
    except UsageError as error:
        sys.exit(terminal.misused(error))
    except typer.Abort:
        terminal.say("aborted")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
