"""`driftlog edge settings`: what a running agent goes by, seen and changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from driftlog.cli.calling import Url, call
from driftlog.cli.drawing import emit, facts
from driftlog.cli.edge_arguments import typed
from driftlog.cli.terminal import Json, told
from driftlog.client.sending import DEFAULT_URL

app = typer.Typer(no_args_is_help=True, help="Settings of a running agent. Example: driftlog edge settings get")


@app.command()
@told
def get(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Those that may change while it runs, as they are now. Example: driftlog edge settings get --json"""
    _emit(call("GET", url, "/v1/settings"), json)


@app.command("set")
@told
def set_settings(
    settings: Annotated[list[str], typer.Argument(help="NAME=VALUE or TABLE.NAME=VALUE; JSON where that is no text.")],
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Change some, all at once or none, until the agent ends. Example: driftlog edge settings set link.bytes_per_second=10000 sync.Stock=5m"""
    body: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        table, dot, field = name.partition(".")
        known = body.setdefault(table, {} if dot else None)
        if not equals or not table or (dot and not (field and isinstance(known, dict))):
            raise typer.BadParameter(f"{setting!r}: write NAME=VALUE or TABLE.NAME=VALUE")
        if dot:
            body[table][field] = typed(value)
        else:
            body[table] = typed(value)
    _emit(call("PUT", url, "/v1/settings", json=body), json)


def _emit(found: dict[str, Any], json: bool) -> None:
    flat: dict[str, Any] = {}
    for name, part in found.items():
        flat |= {f"{name}.{field}": value for field, value in part.items()} if isinstance(part, dict) else {name: part}
    emit(found, as_json=json, table=lambda: facts("settings of this agent", flat))
