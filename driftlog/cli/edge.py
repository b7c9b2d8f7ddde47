"""`driftlog edge`: run an agent (`edge_run`), prepare one, and talk to one that runs.

The commands that ask an agent, with their HTTP client, are in a module of their own, loaded when one of them is called.
"""

from __future__ import annotations

import json as jsonlib
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from typer.core import TyperGroup

from driftlog.cli.extras import needs
from driftlog.cli.terminal import Bootstrap, Config, Registry, fail, require_scopes, told
from driftlog_schemas.connection import registry_at
from driftlog_schemas.contract import AppContract
from driftlog_schemas.loading import load_contract
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.signing import Identity


class _WithQuestions(TyperGroup):
    """The commands of this module, then those that ask an agent."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_questions().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _questions().get_command(ctx, cmd_name)


@cache
def _questions() -> Any:
    from driftlog.cli import edge_questions

    return typer.main.get_command(edge_questions.app)


app = typer.Typer(
    cls=_WithQuestions, no_args_is_help=True, help="The agent beside the application. Example: driftlog edge status"
)

_SETTINGS = {
    "data_dir": "the replica: all that this device knows, and the API's token",
    "identity": "who this device is; its key never leaves that file",
    "scopes": "what it holds a copy of",
    "bootstrap": "a Kafka broker; TLS and users in a table [kafka]",
    "registry": "the schema registry",
    "registry.url": "the schema registry",
    "http_port": "the API, on loopback",
}
_KEY_LINE = '# encryption_key_file = "edge.key"  # wraps the folder\'s data key; made by `driftlog edge key new`'


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def run(context: typer.Context) -> None:
    """Run an agent until it is told to stop. Example: driftlog edge run --app shop:app --config edge.toml"""
    needs("edge", "`driftlog edge run`")
    from driftlog.cli import edge_run

    raise typer.Exit(edge_run.main(context.args))


@app.command()
@told
def openapi(
    app: Annotated[
        str,
        typer.Option("--app", help="MODULE:NAME of the app whose commands it is to have; without it, those of none."),
    ] = "",
    to: Annotated[Path | None, typer.Option("--out", help="The file to write; without it, to the output.")] = None,
) -> None:
    """Write the description of the agent's API, to generate a client from. Example: driftlog edge openapi --app shop:app --out openapi.json"""
    needs("edge", "`driftlog edge openapi`")
    from driftlog_edge.http_api.app import description

    found = description(load_contract(app) if app else AppContract("any", {}))
    text = jsonlib.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if to is None:
        sys.stdout.write(text)
        return
    try:
        to.write_text(text)
    except OSError as error:
        fail(f"{to} cannot be written: {error.strerror}", "give another --out")
    typer.echo(f"wrote {to}")


@app.command()
@told
def init(
    identity: Annotated[Path, typer.Option(help="Identity file from `driftlog devices enrol`.")],
    scope: Annotated[list[str], typer.Option(help="Scope to hold; may be repeated.")],
    out_file: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("edge.toml"),
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the replica; beside the identity if not given.")
    ] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the API on loopback; 0 = a free one.")
    ] = 7420,
) -> None:
    """Write the settings of an agent. Example: driftlog edge init --identity store-1.json --scope s1

    What a --config file says of kafka, registry and trust is written down too, but for passwords: those stay where they are.
    """
    if not identity.exists():
        fail(f"there is no identity file {identity}", "make one: driftlog devices enrol NAME --out FILE")
    Identity.load(identity)
    require_scopes(scope)
    cluster = ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry)
    settings = {
        "data_dir": str(data_dir or identity.with_suffix(".replica")),
        "identity": str(identity),
        "scopes": scope,
        "bootstrap": cluster.kafka.bootstrap,
        "registry" if cluster.registry == registry_at(cluster.registry.url) else "registry.url": cluster.registry.url,
        "http_port": http_port,
    }
    lines = [
        f"{name} = {jsonlib.dumps(value, ensure_ascii=False)}  # {_SETTINGS[name]}" for name, value in settings.items()
    ]
    lines += [_KEY_LINE, *_besides_addresses(cluster)]
    try:
        with out_file.open("x") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        fail(f"{out_file} is there already", "give another with --out, or edit that one")
    except OSError as error:
        fail(f"{out_file} cannot be written: {error.strerror}", "give another with --out")
    typer.echo(f"{out_file} is written; run it: driftlog edge run --app MODULE:APP --config {out_file}")


def _besides_addresses(cluster: ConnectionSettings) -> list[str]:
    """What is said of them besides, as lines of TOML. A password is not copied: others may read the file that is written."""
    lines: list[str] = []
    for name, table in (("kafka", cluster.kafka), ("registry", cluster.registry), ("trust", cluster.trust)):
        told = table.model_dump(exclude_defaults=True, exclude_none=True, exclude={"bootstrap", "url"})
        lines += [_line(name, key, value) for key, value in told.items()]
    return lines


def _line(table: str, key: str, value: object) -> str:
    if isinstance(value, SecretStr):
        variable = f"DRIFTLOG_{table}__{key}".upper()
        return f"# {table}.{key} is not written down here: name its file as {table}.{key}_file, or set {variable}"
    return f"{table}.{key} = {jsonlib.dumps(str(value), ensure_ascii=False)}"
