"""What `driftlog edge` asks a running agent."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

import typer

from driftlog.cli import edge_arguments, edge_catch_up, edge_key, edge_people, edge_settings, edge_status, salvage
from driftlog.cli.calling import PATIENCE_SECONDS, Url, call
from driftlog.cli.drawing import emit, facts, out, rows
from driftlog.cli.edge_lists import all_of, commands_table, path
from driftlog.cli.terminal import Json, told
from driftlog.cli.texts import printable
from driftlog.client import Client
from driftlog.client.sending import DEFAULT_URL
from driftlog_schemas.spans import span

app = typer.Typer()

app.add_typer(edge_people.review, name="review")
app.add_typer(edge_key.app, name="key")
app.command("salvage")(salvage.salvage)
app.command("catch-up")(edge_catch_up.catch_up)
app.add_typer(edge_people.rejected, name="rejected")
app.add_typer(edge_people.deferred, name="deferred")
app.add_typer(edge_settings.app, name="settings")

PATIENT = {"timeout": f"{PATIENCE_SECONDS - 5}s"}
"""For what may take its time: the agent says how far it is, before nobody listens any more."""


@app.command()
@told
def status(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """How the agent is. Example: driftlog edge status --json"""
    found = call("GET", url, "/v1/status")
    emit(found, as_json=json, table=lambda: facts("edge agent", edge_status.shown(found)))


@app.command()
@told
def get(
    collection: str, scope: str, id: str, consistency: str = "eventual", url: Url = DEFAULT_URL, json: Json = False
) -> None:
    """Read a document. Example: driftlog edge get Stock store-1 tea"""
    found = call("GET", url, f"/v1/documents/{path(collection, scope, id)}", params={"consistency": consistency})
    emit(found, as_json=json, table=lambda: facts(f"{collection}/{scope}/{id}{_stale(found)}", found["value"]))


def _stale(found: dict[str, Any]) -> str:
    """What to say of the age of a document that is older than its collection allows."""
    if not found["stale"]:
        return ""
    age = found["age_seconds"]
    return ", stale: never in step" if age is None else f", stale: in step {span(round(age * 1000))} ago, or longer"


@app.command("do")
@told
def do_command(
    command: str,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="NAME=VALUE; read as the command declares it, JSON where that is no text."),
    ] = None,
    wait: str = "disk",
    durability: Annotated[
        str, typer.Option(help="disk, or os to answer before the fsync; the agent's if left out.")
    ] = "",
    key: Annotated[str, typer.Option(help="Idempotency key.")] = "",
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Run a command. Example: driftlog edge do sell store=store-1 sku=tea qty=2"""
    pairs = [argument.partition("=") for argument in arguments or []]
    if odd := next((name for name, equals, _ in pairs if not equals), None):
        raise typer.BadParameter(f"{odd!r}: write NAME=VALUE")
    names = [name for name, _, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise typer.BadParameter(f"{twice} is given more than once; give it once")
    document = call("GET", url, "/openapi.json") if pairs else {}
    declared = edge_arguments.declared(document, command)
    body = {name: edge_arguments.value(value, declared.get(name, {}), document) for name, _, value in pairs}
    headers = {"Idempotency-Key": key} if key else {}
    params = {"wait": wait, **({"durability": durability} if durability else {})}
    takes = (
        f"{command} takes {', '.join(declared)}" if declared else "see /openapi.json for commands and what they take"
    )
    found = call(
        "POST",
        url,
        f"/v1/commands/{path(command)}",
        json=body,
        params=params,
        headers=headers,
        to_mend={"invalid": takes},
    )
    emit(found, as_json=json, table=lambda: facts(command, {k: found[k] for k in ("status", "result", "command_id")}))


@app.command()
@told
def pending(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 20,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """What waits for the cloud, oldest first. Example: driftlog edge pending --json"""
    found = call("GET", url, "/v1/status")
    part = {k: found[k] for k in ("pending", "oldest_pending_seconds", "connection", "problem", "waiting")}
    part["commands"] = all_of(url, "/v1/log", "commands", limit, pending=True)
    title = f"{part['pending']} pending, {part['connection']}" + (f": {part['problem']}" if part["problem"] else "")
    emit(part, as_json=json, table=lambda: commands_table(title, part["commands"]))


@app.command("log")
@told
def show_log(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
    before: Annotated[int, typer.Option(min=0, help="Only commands before this number.")] = 0,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """The device's own last commands and what became of them. Example: driftlog edge log --limit 50"""
    found = _log(url, limit, before)
    emit(found, as_json=json, table=lambda: commands_table("commands of this device", found))


@app.command()
@told
def watch(
    collection: str = "",
    scope: str = "",
    since: Annotated[str, typer.Option(help="Id of the last event that was seen; what was missed comes first.")] = "",
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Print changed documents as they change, until interrupted. Example: driftlog edge watch --scope store-1

    It goes on over a restart of the agent. With --json one line per event, with its `event_id`; `--since ID` takes up after it.
    """
    call("GET", url, "/v1/status")  # where no agent is at all nobody waits for one
    with Client(url) as agent:
        for change in agent.watch(collection, scope, since):
            document = change.document
            if json:
                event = {"event": "change" if document else "resync", "event_id": change.id}
                typer.echo(jsonlib.dumps(event | (document._asdict() if document else {})))
            else:
                line = "/".join(document) if document else "(some changes were missed: read everything again)"
                out.print(printable(line), markup=False, soft_wrap=True)


@app.command()
@told
def scopes(
    add: Annotated[list[str] | None, typer.Option(help="Hold this scope too; may be repeated.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Hold this scope no longer; may be repeated.")] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """The scopes that the agent holds, changed where asked. Example: driftlog edge scopes --add store-2"""
    found = call("GET", url, "/v1/scopes")
    if add or drop:
        kept = [scope for scope in found["scopes"] if scope not in (drop or ())]
        wanted = [*kept, *(s for s in add or () if s not in kept)]
        found = call("PUT", url, "/v1/scopes", json={"scopes": wanted}, params=PATIENT)
    emit(found, as_json=json, table=lambda: rows("scopes", ("scope",), [(scope,) for scope in found["scopes"]]))


@app.command()
@told
def power(
    plugged: Annotated[bool | None, typer.Option("--plugged/--unplugged", help="Is it fed from outside?")] = None,
    battery: Annotated[float | None, typer.Option(min=0, max=100, help="The battery's charge, in percent.")] = None,
    metered: Annotated[
        bool | None, typer.Option("--metered/--unmetered", help="Does the network cost something?")
    ] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """What the agent knows of power and network, told where options say it. Example: driftlog edge power --battery 12 --unplugged"""
    found = call("GET", url, "/v1/power")
    given = {"mains": plugged, "battery_percent": battery, "metered": metered}
    if told_now := {name: value for name, value in given.items() if value is not None}:
        found = call("PUT", url, "/v1/power", json={**found["told"], **told_now})
    emit(found, as_json=json, table=lambda: facts("power and network", found))


@app.command()
@told
def offline(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Stay off the network until `online`. Example: driftlog edge offline"""
    _set_offline(url, True, json)


@app.command()
@told
def online(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Use the network again. Example: driftlog edge online"""
    _set_offline(url, False, json)


def _set_offline(url: str, wanted: bool, json: bool) -> None:
    found = call("POST", url, "/v1/offline", json={"offline": wanted}, params=PATIENT)
    # What was asked for stands beside how far it is: just told to be online, it connects first.
    part = {k: found[k] for k in ("offline_by_choice", "connection", "pending")}
    emit(part, as_json=json, table=lambda: facts("network", part))


@app.command()
@told
def conflicts(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """What is not resolved. Example: driftlog edge conflicts"""
    found = all_of(url, "/v1/conflicts", "conflicts")
    lines = [
        (
            c["id"],
            f"{c['collection']}/{c['scope']}/{c['document_id']}",
            c["field"],
            c["versions"][0]["value"],
            c["versions"][1]["value"],
            len(c["versions"]) + c["omitted"],
        )
        for c in found
    ]
    columns = ("id", "document", "field", "stands", "next", "versions")
    emit(found, as_json=json, table=lambda: rows("conflicts", columns, lines))


def _log(url: str, limit: int, before: int) -> list[Any]:
    """The last commands, oldest first; read page after page from the end."""
    found: list[Any] = []
    while True:
        page = call("GET", url, "/v1/log", params={"limit": limit - len(found), "before": before})
        found = page["commands"] + found
        if page["next"] is None or len(found) == limit:
            return found
        before = page["next"]
