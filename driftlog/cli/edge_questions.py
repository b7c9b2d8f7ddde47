"""What `driftlog edge` asks a running agent."""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import httpx
import typer
from rich.table import Table

from driftlog.cli import edge_catch_up, edge_key, edge_settings, salvage
from driftlog.cli.calling import PATIENCE_SECONDS, Url, call
from driftlog.cli.terminal import Json, emit, facts, fail, moment, out, rows, told
from driftlog.client.events import Events
from driftlog.client.place import connect
from driftlog.client.sending import DEFAULT_URL
from driftlog_schemas.spans import span

app = typer.Typer()

review = typer.Typer(no_args_is_help=True, help="Commands that wait for a person. Example: driftlog edge review list")
app.add_typer(review, name="review")
app.add_typer(edge_key.app, name="key")
app.command("salvage")(salvage.salvage)
app.command("catch-up")(edge_catch_up.catch_up)
rejected = typer.Typer(
    no_args_is_help=True, help="Commands that were rejected later. Example: driftlog edge rejected list"
)
app.add_typer(rejected, name="rejected")
deferred = typer.Typer(
    no_args_is_help=True, help="Commands that the cloud has put off. Example: driftlog edge deferred list"
)
app.add_typer(deferred, name="deferred")
app.add_typer(edge_settings.app, name="settings")

PATIENT = {"timeout": f"{PATIENCE_SECONDS - 5}s"}
"""For what may take its time: the agent says how far it is, before nobody listens any more."""


@app.command()
@told
def status(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """How the agent is. Example: driftlog edge status --json"""
    found = call("GET", url, "/v1/status")
    flat = {k: v for k, v in found.items() if k != "scopes"}
    flat["disk"] = _disk(found)
    if "catching_up" in found:  # not of an agent before it
        flat["catching_up"] = edge_catch_up.missing(found) or "in step"
    flat["snapshot"] = _snapshot(found["snapshot"])
    if support := found.get("support"):  # not of an agent before it
        flat["support"] = _support(support)
    flat |= {f"scope {name}": _scope(facts_) for name, facts_ in found["scopes"].items()}
    emit(found, as_json=json, table=lambda: facts("edge agent", flat))


@app.command()
@told
def get(
    collection: str, scope: str, id: str, consistency: str = "eventual", url: Url = DEFAULT_URL, json: Json = False
) -> None:
    """Read a document. Example: driftlog edge get Stock store-1 tea"""
    found = call("GET", url, f"/v1/documents/{_path(collection, scope, id)}", params={"consistency": consistency})
    emit(found, as_json=json, table=lambda: facts(f"{collection}/{scope}/{id}", found["value"]))


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
    document = call("GET", url, "/openapi.json") if pairs else {}
    declared = _argument_schemas(document, command)
    body = {name: _value(value, declared.get(name, {}), document) for name, _, value in pairs}
    headers = {"Idempotency-Key": key} if key else {}
    params = {"wait": wait, **({"durability": durability} if durability else {})}
    found = call("POST", url, f"/v1/commands/{_path(command)}", json=body, params=params, headers=headers)
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
    part["commands"] = _all(url, "/v1/log", "commands", limit, pending=True)
    title = f"{part['pending']} pending, {part['connection']}" + (f": {part['problem']}" if part["problem"] else "")
    emit(part, as_json=json, table=lambda: _commands(title, part["commands"]))


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
    emit(found, as_json=json, table=lambda: _commands("commands of this device", found))


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

    With --json one line per event, its id in it; `--since ID` takes up after it.
    """
    try:
        with (
            connect(url, timeout=None) as agent,
            agent.stream(
                "GET",
                "/v1/watch",
                params={"collection": collection, "scope": scope},
                headers={"Last-Event-ID": since} if since else {},
            ) as answer,
        ):
            if answer.is_error:
                fail(
                    f"the agent at {url} refuses to be watched ({answer.status_code})", "check --collection and --scope"
                )
            events = Events()
            for line in answer.iter_lines():
                event = events.take(line)
                if event is None or "data" not in event:
                    continue
                document = jsonlib.loads(event["data"])
                if json:
                    out.print(jsonlib.dumps({"id": event["id"], "event": event["event"], **document}), markup=False)
                elif document:
                    out.print("/".join(document.values()), markup=False)
                else:
                    out.print("(some changes were missed: read everything again)", markup=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no agent answers at {url}: {error}", "start one with `driftlog edge run`, or check --url")


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
    part = {k: found[k] for k in ("connection", "pending")}
    emit(part, as_json=json, table=lambda: facts("network", part))


@app.command()
@told
def conflicts(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """What is not resolved. Example: driftlog edge conflicts"""
    found = _all(url, "/v1/conflicts", "conflicts")
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


@review.command("list")
@told
def review_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that wait for a person. Example: driftlog edge review list"""
    found = _all(url, "/v1/review", "commands")
    emit(found, as_json=json, table=lambda: _commands("commands that wait for a person", found, by="id"))


@review.command("apply")
@told
def review_apply(command_id: str, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Run a command on what is there now. Example: driftlog edge review apply 3f1c"""
    _review(url, command_id, {"apply": True}, json)


@review.command("drop")
@told
def review_drop(command_id: str, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Give a command up. Example: driftlog edge review drop 3f1c"""
    _review(url, command_id, {"drop": True}, json)


@rejected.command("list")
@told
def rejected_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that were rejected after they had been answered, and that nobody has looked at. Example: driftlog edge rejected list"""
    found = _all(url, "/v1/rejected", "commands")
    emit(found, as_json=json, table=lambda: _commands("rejected, and nobody has looked at them", found, by="id"))


@rejected.command("seen")
@told
def rejected_seen(command_id: str, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Take a command off the list, for it was looked at. Example: driftlog edge rejected seen 3f1c"""
    found = call("POST", url, f"/v1/rejected/{_path(command_id)}", json={"seen": True})
    emit(found, as_json=json, table=lambda: facts(command_id, {k: found[k] for k in ("status", "code", "reason")}))


@deferred.command("list")
@told
def deferred_list(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Commands that the cloud has put off, and what stands behind them. Example: driftlog edge deferred list"""
    found = _all(url, "/v1/deferred", "commands")
    emit(found, as_json=json, table=lambda: _commands("commands that the cloud has put off", found, by="id"))


@deferred.command("drop")
@told
def deferred_drop(
    command_id: str,
    reason: Annotated[str, typer.Option(help="Why; kept with the command.")],
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Give a command up; what stands behind it goes on. Example: driftlog edge deferred drop 3f1c --reason 'field is gone'"""
    found = call("POST", url, f"/v1/deferred/{_path(command_id)}", json={"reason": reason})
    emit(found, as_json=json, table=lambda: facts(command_id, {k: found[k] for k in ("status", "code", "reason")}))


def _review(url: str, command_id: str, decision: dict[str, bool], json: bool) -> None:
    found = call("POST", url, f"/v1/review/{_path(command_id)}", json=decision)
    emit(found, as_json=json, table=lambda: facts(command_id, {k: found[k] for k in ("status", "code")}))


def _disk(status: dict[str, Any]) -> str:
    """How the store stands to its budget, the warning first."""
    disk, used = status["disk"], status["disk_bytes"]
    if disk["budget_bytes"] is None:
        return f"{used} bytes, no budget"
    return f"WARNING: {disk['warning']}" if disk["warning"] else f"{used} of {disk['budget_bytes']} bytes"


def _snapshot(snapshot: dict[str, Any]) -> str:
    """How long this device may still be away, the warning first."""
    left = snapshot["needed_in_seconds"]
    if snapshot["warning"] or left is None:
        return f"WARNING: {snapshot['warning']}" if snapshot["warning"] else "not read yet, or read again now"
    return f"needed after {span(round(left * 1000))} more away"


def _support(support: dict[str, Any]) -> str:
    """Until when the cloud takes what this version of the app writes, the warning first."""
    if support["warning"]:
        return f"WARNING: {support['warning']}"
    version = support["version"] or "without a version"
    return version if support["ends"] is None else f"{version}, until {moment(support['ends'])}"


def _scope(scope: dict[str, Any]) -> str:
    evicted = f", {scope['evicted']} evicted" if scope["evicted"] else ""
    return f"{_age(scope['age_seconds'])}, digest {scope['digest']}{evicted}"


def _age(seconds: float | None) -> str:
    return "never in step" if seconds is None else f"age {seconds:.1f} s"


def _commands(title: str, found: list[dict[str, Any]], by: Literal["number", "id"] = "number") -> Table:
    """`by` is what they are called by; an id where a person is to name one."""
    lines = [
        (
            c["command_id"] if by == "id" else c["number"],
            datetime.fromtimestamp(c["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            c["name"] or "(write)",
            ", ".join(dict.fromkeys(change["document"] for change in c["changes"])),
            c["status"] + (f" ({c['code']})" if c["code"] else "") + _waits(c),
            c["actor"],
        )
        for c in found
    ]
    return rows(title, (by, "at (UTC)", "command", "documents", "status", "actor"), lines)


_WAITS = {
    "review": "a person",
    "change": "an earlier change",
    "cloud": "the cloud to take it",
    "outbox": "room in the outbox",
    "life": "a new life of this folder",
    "release": "a release that declares it",
    "network": "a way to the cloud",
}
"""What the API says in a word."""


def _waits(command: dict[str, Any]) -> str:
    """What it waits for, and until when."""
    if not command["waiting_for"]:
        return ""
    until = command["waiting_until"]
    what = _WAITS.get(command["waiting_for"], command["waiting_for"])
    return f", waits for {what}" + (f" until {moment(until)}" if until else "")


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _argument_schemas(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The command's own description of its arguments; empty for a command that the agent does not know, which it then says."""
    found = document.get("paths", {}).get(f"/v1/commands/{command}", {}).get("post", {})
    schema = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return dict(schema.get("properties", {}))


def _value(text: str, schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """What was typed, as its argument is declared: text stays text, whatever it looks like."""
    if _is_text(text, schema, document):
        return text
    try:
        return jsonlib.loads(text)
    except jsonlib.JSONDecodeError:
        return text


def _is_text(text: str, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Is this a text where that is declared, by itself, by name, or as one of several?"""
    if reference := schema.get("$ref", "").removeprefix("#/components/schemas/"):
        return _is_text(text, document["components"]["schemas"][reference], document)
    if "enum" in schema:
        return text in schema["enum"]
    return schema.get("type") == "string" or any(_is_text(text, one, document) for one in schema.get("anyOf", ()))


def _all(url: str, path: str, what: str, limit: int | None = None, **params: Any) -> list[Any]:
    """A list, page after page: all of it, or the first `limit`."""
    found: list[Any] = []
    while True:
        asked = params if limit is None else {**params, "limit": limit - len(found)}
        page = call("GET", url, path, params=asked)
        found += page[what]
        if page["next"] is None or len(found) == limit:
            return found
        params["after"] = page["next"]


def _log(url: str, limit: int, before: int) -> list[Any]:
    """The last commands, oldest first; read page after page from the end."""
    found: list[Any] = []
    while True:
        page = call("GET", url, "/v1/log", params={"limit": limit - len(found), "before": before})
        found = page["commands"] + found
        if page["next"] is None or len(found) == limit:
            return found
        before = page["next"]
