"""`driftlog conflicts list|show|export|rules|resolve`: what people have to decide, and what was decided.

Listing reads the conflict topics; resolving is a write like any other, so it goes through an edge, which has seen all versions.
"""

from __future__ import annotations

import getpass
import json as jsonlib
import sys
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Group

from driftlog.cli.calling import words
from driftlog.cli.conflict_rules import rules
from driftlog.cli.conflict_topics import read_all
from driftlog.cli.connected import connected
from driftlog.cli.decision import assignments, decided, problem_of
from driftlog.cli.drawing import emit, facts, out, rows
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, told
from driftlog.cli.texts import moment
from driftlog.client.place import connect
from driftlog_crdt import DEADLINE
from driftlog_schemas.messages import Conflict, Version
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.reading.conflict_export import Format, as_json, head, line
from driftlog_streams.reading.conflict_lists import Filter, Which, line_of, list_of

app = typer.Typer(
    no_args_is_help=True, help="What people have to decide. Example: driftlog conflicts list --app shop:app"
)

app.command()(rules)

EDGE_SECONDS = 30.0
DEFAULT_EDGE = "http://127.0.0.1:7420"


@app.command("list")
@told
@connected
def list_(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that are over: resolved by somebody, or settled.")
    ] = False,
    json: Json = False,
) -> None:
    """Conflicts of an app. Example: driftlog conflicts list --app shop:app --all"""
    found = [c for c in read_all(app, settings, cache)[1] if every or not c.status.over]
    lines = [
        (
            c.id,
            "/".join(c.document),
            c.field,
            _shown(c.winner),
            _others(c),
            c.status.value,
            _time(c.deadline_ms),
            _decided(c),
        )
        for c in found
    ]
    columns = ("id", "document", "field", "stands", "against", "status", "decide until", "decided by")
    emit([as_json(c) for c in found], as_json=json, table=lambda: rows("conflicts", columns, lines))


@app.command()
@told
@connected
def show(
    conflict: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """All versions side by side: what, who, when. Example: driftlog conflicts show 3f2a --app shop:app"""
    found = [c for c in read_all(app, settings, cache)[1] if c.id.startswith(conflict)]
    if len(found) != 1:
        fact = f"{len(found)} conflicts begin with {conflict!r}" if found else f"there is no conflict {conflict!r}"
        fail(fact, "see `driftlog conflicts list --all`")
    emit(as_json(found[0]), as_json=json, table=lambda: _page(found[0]))


@app.command()
@told
@connected
def export(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    which: Annotated[
        Which, typer.Option(help="Decided by a person, settled by a rule or a deadline, or open.")
    ] = "decided",
    format: Annotated[Format, typer.Option(help="csv, or jsonl: a JSON document a line.")] = "csv",
    collection: Annotated[str, typer.Option(help="Only of this collection.")] = "",
    scope: Annotated[str, typer.Option(help="Only of this scope.")] = "",
    field: Annotated[str, typer.Option(help="Only of this field.")] = "",
    device: Annotated[str, typer.Option(help="Only with a version of this device.")] = "",
    actor: Annotated[str, typer.Option(help="Only with a version of this person.")] = "",
    command: Annotated[str, typer.Option(help="Only with a version that this command wrote.")] = "",
    since: Annotated[str, typer.Option(help="Only what came then or later, for example 2026-03-01T14:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Only what came before that.")] = "",
) -> None:
    """Decisions for other programs: who, when, how (page, cli, api, rule, deadline) and why, beside what had stood against what.

    The last one comes first, as on the console's page of the same filter. Example: driftlog conflicts export --app shop:app --since 2026-03-01 > decisions.csv
    """
    asked = {"collection": collection, "scope": scope, "field": field, "device": device}
    wanted = Filter.of(asked | {"actor": actor, "command": command, "since": since, "until": until})
    found = {c.id: c for c in read_all(app, settings, cache)[1] if list_of(c.status) == which}
    sys.stdout.write(head(format))
    for one in wanted.taken(sorted(map(line_of, found.values()))):
        sys.stdout.write(line(found[one.id], format))


@app.command()
@told
def resolve(
    conflict: Annotated[str, typer.Argument(help="Its id.")],
    edge: Annotated[
        str,
        typer.Option("--edge", "--url", envvar=["DRIFTLOG_EDGE_URL", "DRIFTLOG_EDGE"], help="URL of an edge agent."),
    ] = DEFAULT_EDGE,
    value: Annotated[list[str] | None, typer.Option("--set", help="FIELD=JSON to stand from now on.")] = None,
    accept: Annotated[bool, typer.Option(help="Let the version stand that stands now.")] = False,
    actor: Annotated[str, typer.Option(help="Who decides; the user of this shell if left out.")] = "",
    reason: Annotated[str, typer.Option(help="Why; kept with the decision and shown to all.")] = "",
    json: Json = False,
) -> None:
    """Decide, through an edge agent; also what its deadline has settled.

    Example: driftlog conflicts resolve 3f2a9c... --edge http://127.0.0.1:7420 --set price=12.5 --reason "as on the shelf"
    """
    if bool(value) == accept:
        raise typer.BadParameter("give either --set FIELD=JSON or --accept")
    texts = assignments(value or ())
    headers = {b"Driftlog-Actor": _name(actor or _user())}
    try:
        with connect(edge, timeout=EDGE_SECONDS) as agent:

            def ask(body: dict[str, Any]) -> httpx.Response:
                path = f"/v1/conflicts/{quote(conflict, safe='')}/resolve"
                return agent.post(path, json=body, params={"how": "cli", "reason": reason}, headers=headers)

            answer = ask({"accept": True}) if accept else decided(ask, texts)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no edge agent answers at {edge}: {error}", "check --edge, or start one with `driftlog edge run`")
    if answer.is_error:
        fail(*_problem(answer, edge))
    if json:
        emit(answer.json(), as_json=True, table=lambda: "")
    else:
        out.print(f"conflict {conflict} is decided; the others hear of it when the edge has shipped it")


def _name(actor: str) -> bytes:
    if not actor.isprintable():
        raise typer.BadParameter("--actor: a name has letters, digits and signs only")
    return actor.encode(errors="replace")


def _user() -> str:
    """Who runs this shell; empty where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user: KeyError up to Python 3.12
        return ""


def _problem(answer: httpx.Response, edge: str) -> tuple[str, str]:
    """What an agent says is wrong, and the way on."""
    problem = problem_of(answer)
    if not problem:
        return f"what answers at {edge} is no edge agent ({answer.status_code})", "check --edge"
    return words(problem), str(problem.get("remedy") or "see `driftlog conflicts list`")


def _page(conflict: Conflict) -> Group:
    """A conflict for a person: its facts, then one line for each version."""
    about = {name: value for name, value in as_json(conflict).items() if name not in ("versions", "decided_by")}
    if conflict.decided_by is not None:
        about |= {"decided by": _decided(conflict), "reason": conflict.decided_by.reason or None}
    lines = [("stands", conflict.winner), *(("", v) for v in conflict.versions[1:])]
    if conflict.decided_by is not None:
        lines = [("decided", conflict.decided_by), ("stood", conflict.winner), *lines[1:]]
    columns = ("", "value", "by", "actor", "command", "its clock", "logged", "had seen")
    cells = [(role, jsonlib.dumps(v.value), v.replica, *_when(v)) for role, v in lines]
    return Group(facts(f"conflict {conflict.id}", about), rows("versions", columns, cells))


def _when(version: Version) -> tuple[str | None, ...]:
    times = (_time(version.hlc >> 16), _time(version.append_ms))
    return (version.actor, version.command_id, *times, f"{version.seen} changes")


def _shown(version: Version) -> str:
    return f"{jsonlib.dumps(version.value)} by {version.actor or version.replica}"


def _decided(conflict: Conflict) -> str:
    by = conflict.decided_by
    if by is None:
        return ""
    if by.how == DEADLINE:
        return DEADLINE
    return f"{by.actor or by.replica} ({by.how})" if by.how else by.actor or by.replica


def _others(conflict: Conflict) -> str:
    more = len(conflict.versions) + conflict.omitted - 2
    first = _shown(conflict.versions[1])
    return f"{first} and {more} more" if more else first


def _time(ms: int) -> str | None:
    return moment(ms) if ms else None
