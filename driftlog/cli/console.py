"""`driftlog console`: the pages for the people who decide and operate, and who they are."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from driftlog.cli.drawing import emit, err, rows
from driftlog.cli.extras import needs
from driftlog.cli.terminal import Bootstrap, Config, Json, Registry, told
from driftlog_console.people import EVERYTHING, People, Person, Right
from driftlog_schemas.loading import load_contract

app = typer.Typer(
    invoke_without_command=True,
    subcommand_metavar="[people ...]",
)
people = typer.Typer(
    no_args_is_help=True, help="Who may use it. Example: driftlog console people add anna --may decide"
)
app.add_typer(people, name="people")

DEFAULT_FOLDER = Path("driftlog-console")
Folder = Annotated[Path, typer.Option("--data-dir", envvar="DRIFTLOG_DATA_DIR", help="Folder of the console.")]


@app.callback()
@told
def console(
    context: typer.Context,
    app: Annotated[
        str | None,
        typer.Option("--app", envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of the app, for example shop:app."),
    ] = None,
    config: Config = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="DRIFTLOG_DATA_DIR", help="Folder of the console; driftlog-console.")
    ] = None,
    identity: Annotated[Path | None, typer.Option(help="Identity file from `driftlog devices enrol`.")] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Scope to show; may be repeated. All that have a document, if none is given."),
    ] = None,
    http_host: Annotated[str | None, typer.Option(help="Where it listens; on loopback.")] = None,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Its port; 7430.")] = None,
) -> None:
    """The console: conflicts to decide, the fleet at a glance, what the cloud has set aside. It is a device like any other: enrol one for it.

    Example: driftlog devices enrol console --out console.json

    Example: driftlog console people add anna --may decide

    Example: driftlog console --app shop:app --identity console.json
    """
    if context.invoked_subcommand is not None:
        return
    if app is None:
        raise typer.BadParameter("name the app, for example --app shop:app")
    needs("edge,streams,console", "`driftlog console`")
    from driftlog_console.config import ConsoleConfig
    from driftlog_console.server import serve

    contract = load_contract(app)
    settings = ConsoleConfig.load(
        config,
        data_dir=data_dir or (None if config else DEFAULT_FOLDER),
        identity=identity,
        bootstrap=bootstrap,
        registry=registry,
        scopes=scope,
        http_host=http_host,
        http_port=http_port,
    )
    if (first := People(settings.data_dir).first()) is not None:
        err.print(
            f"nobody may use it yet, so there is an operator now; the token to sign in with is in {first}", markup=False
        )
    asyncio.run(serve(contract, settings, lambda url: err.print(f"the console is at {url}", markup=False)))


@people.command()
@told
def add(
    name: Annotated[str, typer.Argument(help="As decisions will say who made them.")],
    may: Annotated[
        list[Right] | None,
        typer.Option(help="view (always), decide, operate, reveal (masked fields); may be repeated."),
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Only this scope; may be repeated.")] = None,
    data_dir: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """Let somebody use the console; prints the token with which they sign in, this once. Again: other rights, another token.

    Example: driftlog console people add anna --may decide --scope s1
    """
    listed = People(data_dir)
    token = listed.add(name, may or (), scope or (EVERYTHING,))
    person = listed.named(name)
    assert person is not None, "was added"
    data = {**_data(person), "token": token}
    emit(data, as_json=json, table=lambda: rows("person", ("name", "may", "scopes", "token"), [_line(person, token)]))


@people.command("list")
@told
def list_(data_dir: Folder = DEFAULT_FOLDER, json: Json = False) -> None:
    """Who may use it, and for what. Example: driftlog console people list"""
    found = People(data_dir).all()
    emit(
        [_data(person) for person in found],
        as_json=json,
        table=lambda: rows("people", ("name", "may", "scopes"), [_line(person) for person in found]),
    )


@people.command()
@told
def remove(
    name: Annotated[str, typer.Argument(help="As the list has it.")],
    data_dir: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """Take somebody off the list; they are out at their next click. Example: driftlog console people remove anna"""
    People(data_dir).remove(name)
    emit({"name": name}, as_json=json, table=lambda: f"{name} may not use the console any more")


def _data(person: Person) -> dict[str, object]:
    return {name: value for name, value in asdict(person).items() if name != "digest"}


def _line(person: Person, *more: str) -> tuple[str, ...]:
    return (person.name, ", ".join(person.rights), ", ".join(person.scopes), *more)
