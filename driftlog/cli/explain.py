"""`driftlog explain`: the history of a document: who changed what, when, what they had not seen, what became of it, and why it is as it is."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.progress import Progress

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, err, facts, rows
from driftlog.cli.operator import trusted_root
from driftlog.cli.present import present_contract
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, told
from driftlog.cli.texts import moment
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.replaying.history import History, read_history, who, why
from driftlog_streams.replaying.retelling import Change, Step

app = typer.Typer()


@app.command()
@told
@connected
def explain(
    collection: Annotated[str, typer.Argument(help="As the app declares it, for example Stock.")],
    scope: Annotated[str, typer.Argument(help="For example store-1.")],
    id: Annotated[str, typer.Argument(metavar="ID", help="The document's, for example tea.")],
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Every change of a document as the op log has it, and what came of it.

    The document's partition is merged once more by the workers' own rules, from the first record of its log; nothing is written. So it tells also
    what comes of changes that no worker has merged yet.
    Example: driftlog explain Stock store-1 tea --app shop:app
    """
    contract = present_contract(app, settings, cache)
    declared = contract.collection(collection)
    document = DocumentId(collection, scope, id)
    ids = CachedRegistry(settings.registry, cache)
    rules = SpaceRules(contract.spaces[declared.space], ids)
    with (
        Enrolment(settings.kafka, ids, None, trusted_root(settings)) as enrolment,
        Progress(console=err, transient=True, disable=not err.is_terminal) as bar,
    ):
        task = bar.add_task("merging the partition once more", total=None)
        history = read_history(
            settings.kafka, rules, document, enrolment.view, lambda at, end: bar.update(task, completed=at, total=end)
        )
        bar.remove_task(task)
    if not history.steps:
        fail(f"nothing in the log changes {'/'.join(document)}", "see whether collection, scope and id are right")
    data = _data(document, declared, history)
    emit(data, as_json=json, table=lambda: _page(data, history))


def _data(document: DocumentId, declared: CollectionContract, history: History) -> dict[str, Any]:
    exists = declared.document.exists(history.state)
    return {
        "collection": document.collection,
        "scope": document.scope,
        "id": document.id,
        "exists": exists,
        "value": declared.present(document.scope, document.id, history.state) if exists else None,
        "why": why(declared, history.steps),
        "history": [_step(step) for step in history.steps],
        "records_read": history.read,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "offset": step.offset,
        "logged": moment(step.logged_ms),
        "device": step.device,
        "replica": step.replica,
        "actor": step.actor or None,
        "command": step.command or None,
        "command_id": step.command_id,
        "clock": moment(step.clock_ms),
        "changes": [{**change._asdict(), "now": step.now.get(change.seq)} for change in step.changes],
        "had_not_seen": None if step.unseen is None else dict(step.unseen),
        "outcome": step.outcome,
        "code": step.code or None,
        "reason": step.reason or None,
    }


def _page(data: Mapping[str, Any], history: History) -> Group:
    lines = [
        (
            moment(step.logged_ms),
            who(step),
            step.command or "a write",
            "\n".join(map(_change, step.changes)),
            _unseen(step.unseen),
            f"{step.outcome}: {step.code}" if step.code else step.outcome,
            "\n".join(step.now.get(change.seq, "") for change in step.changes),
        )
        for step in history.steps
    ]
    columns = ("logged", "who", "command", "change", "had not seen", "outcome", "now")
    name = f"{data['collection']} {data['scope']} {data['id']}"
    shown = (
        {field: f"{_text(data['value'][field])}  ({why})" for field, why in data["why"].items()}
        if data["exists"]
        else {}
    )
    value = facts(f"{name} is" if data["exists"] else f"{name} is deleted", shown)
    return Group(rows(f"what happened to {name}", columns, lines), value)


def _change(change: Change) -> str:
    value = "" if change.value is None else f" {_text(change.value)}"
    return f"{change.field} {change.op}{value}".strip()


def _unseen(unseen: Mapping[str, int] | None) -> str:
    if unseen is None:
        return "does not matter"
    return "\n".join(f"{count} of {device}" for device, count in sorted(unseen.items())) or "nothing"


def _text(value: Any) -> str:
    return jsonlib.dumps(value, ensure_ascii=False)
