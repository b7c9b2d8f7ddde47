"""`driftlog edge`: run an agent, and talk to one that runs."""

from __future__ import annotations

import asyncio
import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from driftlog.cli.terminal import AppOption, Json, emit, facts, fail, out, rows, told
from driftlog_schemas.loading import load_contract

app = typer.Typer(no_args_is_help=True, help="The agent beside the application. Example: driftlog edge status")

Url = Annotated[str, typer.Option("--url", envvar="DRIFTLOG_EDGE_URL", help="Where the agent listens.")]
DEFAULT_URL = "http://127.0.0.1:7420"


@app.command()
@told
def run(
    app: AppOption,
    config: Annotated[Path | None, typer.Option(help="TOML file with the agent's settings.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the replica.")] = None,
    identity: Annotated[Path | None, typer.Option(help="Identity file from `driftlog devices enrol`.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="HOST:PORT of a Kafka broker.")] = None,
    registry: Annotated[str | None, typer.Option(help="URL of the schema registry.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Scope to hold; may be repeated.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of the API on loopback.")] = None,
    durability: Annotated[str | None, typer.Option(help="disk (fsync before the answer) or os.")] = None,
) -> None:
    """Run an agent until it is told to stop. Example: driftlog edge run --app shop:app --config edge.toml"""
    from driftlog_edge import EdgeConfig
    from driftlog_edge.http_api.server import serve

    contract = load_contract(app)
    settings = EdgeConfig.load(
        config,
        data_dir=data_dir,
        identity=identity,
        bootstrap=bootstrap,
        registry=registry,
        scopes=scope,
        http_port=http_port,
        durability=durability,
    )
    asyncio.run(serve(contract, settings))


@app.command()
@told
def status(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """How the agent is. Example: driftlog edge status --json"""
    found = _call("GET", url, "/v1/status")
    flat = {k: v for k, v in found.items() if k != "scopes"}
    flat |= {f"scope {name}": f"age {s['age_seconds']} s, digest {s['digest']}" for name, s in found["scopes"].items()}
    emit(found, as_json=json, table=lambda: facts("edge agent", flat))


@app.command()
@told
def get(
    collection: str, scope: str, id: str, consistency: str = "eventual", url: Url = DEFAULT_URL, json: Json = False
) -> None:
    """Read a document. Example: driftlog edge get Stock store-1 tea"""
    found = _call("GET", url, f"/v1/documents/{collection}/{scope}/{id}", params={"consistency": consistency})
    emit(found, as_json=json, table=lambda: facts(f"{collection}/{scope}/{id}", found["value"]))


@app.command("do")
@told
def do_command(
    command: str,
    arguments: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE; a value may be JSON.")] = None,
    wait: str = "disk",
    key: Annotated[str, typer.Option(help="Idempotency key.")] = "",
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Run a command. Example: driftlog edge do sell store=store-1 sku=tea qty=2"""
    body: dict[str, Any] = {}
    for argument in arguments or []:
        name, equals, value = argument.partition("=")
        if not equals:
            raise typer.BadParameter(f"{argument!r}: write NAME=VALUE")
        body[name] = _value(value)
    headers = {"Idempotency-Key": key} if key else {}
    found = _call("POST", url, f"/v1/commands/{command}", json=body, params={"wait": wait}, headers=headers)
    emit(found, as_json=json, table=lambda: facts(command, {k: found[k] for k in ("status", "result", "command_id")}))


@app.command()
@told
def pending(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """What waits for the cloud. Example: driftlog edge pending"""
    found = _call("GET", url, "/v1/status")
    part = {k: found[k] for k in ("pending", "oldest_pending_seconds", "connection", "problem")}
    emit(part, as_json=json, table=lambda: facts("pending", part))


@app.command()
@told
def watch(collection: str = "", scope: str = "", url: Url = DEFAULT_URL) -> None:
    """Print changed documents as they change, until interrupted. Example: driftlog edge watch --scope store-1"""
    try:
        with httpx.stream(
            "GET", f"{url}/v1/watch", params={"collection": collection, "scope": scope}, timeout=None
        ) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    out.print(line.removeprefix("data:").strip(), markup=False)
    except httpx.TransportError as error:
        fail(f"no agent answers at {url}: {error}", "start one with `driftlog edge run`, or check --url")


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
    found = _call("POST", url, "/v1/offline", json={"offline": wanted})
    part = {k: found[k] for k in ("connection", "pending")}
    emit(part, as_json=json, table=lambda: facts("network", part))


@app.command()
@told
def conflicts(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """What is not resolved. Example: driftlog edge conflicts"""
    found = _call("GET", url, "/v1/conflicts")["conflicts"]
    lines = [
        (
            c["id"],
            f"{c['collection']}/{c['scope']}/{c['document_id']}",
            c["field"],
            c["winner"]["value"],
            c["loser"]["value"],
        )
        for c in found
    ]
    emit(found, as_json=json, table=lambda: rows("conflicts", ("id", "document", "field", "stands", "other"), lines))


def _value(text: str) -> Any:
    try:
        return jsonlib.loads(text)
    except jsonlib.JSONDecodeError:
        return text


def _call(method: str, url: str, path: str, **options: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(method, f"{url}{path}", timeout=30, **options)
    except httpx.TransportError as error:
        fail(f"no agent answers at {url}: {error}", "start one with `driftlog edge run`, or check --url")
    if answer.status_code >= 400:
        found = answer.json()
        fail(f"{found.get('code')}: {found.get('detail')}", found.get("remedy", ""))
    return dict(answer.json())
