"""`driftlog replay`: the read model once more from the op topic, beside the one that runs; and the same records as another app would judge them.

It writes nothing to any topic and joins no group, unless it is told to put what it rebuilds in force (`new_generation`). That lies in a folder of its own
until the command ends.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group
from rich.progress import Progress
from rich.text import Text

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, err, facts, rows
from driftlog.cli.operator import OperatorPath, trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, told
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import UnknownSchema
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.loading import load_contract
from driftlog_schemas.messages import CommandOutcome
from driftlog_schemas.moves import present
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry, SchemaIds
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.state_codec import META
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.registry.operator_folder import OperatorFolder, usual_folder
from driftlog_streams.replaying.comparing import Difference
from driftlog_streams.replaying.kept import Kept, kept
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.made_by import made_by
from driftlog_streams.replaying.new_generation import NewGeneration, Reached, Refused
from driftlog_streams.replaying.replay import PartitionReport, Replay, Until
from driftlog_streams.replaying.scratch import scratch
from driftlog_streams.replaying.switching import Way, require_declared
from driftlog_streams.replaying.unregistered import Unregistered
from driftlog_streams.replaying.verdicts import Changed

app = typer.Typer()

READ_SECONDS = 30.0


@app.command()
@told
@connected
def replay(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    space: Annotated[str | None, typer.Option(help="Only this space of the app.")] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Up to this op offset of each partition, or this time (2026-03-01T12:00, UTC unless it says)."
        ),
    ] = None,
    diff: Annotated[bool, typer.Option(help="Compare with what runs: documents, and what became of commands.")] = False,
    write: Annotated[
        Path | None, typer.Option("--out", help="Write the rebuilt documents into this file, one JSON line each.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many differences to list; all are counted.", min=0)] = 100,
    to_generation: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Put the rebuilt read model in force as this generation: workers and agents switch over. Or go back to an earlier one.",
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="With --to-generation: also where it differs from what runs, or was left before."),
    ] = False,
    wait: Annotated[
        float, typer.Option(help="With --to-generation: seconds that the workers may take to follow.", min=1)
    ] = 600,
    operator: OperatorPath = None,
    json: Json = False,
) -> None:
    """Rebuild the read model from the op topic and compare it with the one that runs. Exit 0 where they are the same.

    With --diff also what became of each command; given another app, a dry run of it. With --until, as it was then: nothing is compared unless --diff is given.

    With --to-generation it is written into topics of its own and put in force, once it is known to be what runs, or --yes says that the differences are meant.

    Example: driftlog replay --app shop:app --diff
    Example: driftlog replay --app shop:app --to-generation 2
    """
    if to_generation is not None:
        if until is not None or diff or write is not None:
            raise typer.BadParameter(
                "--to-generation goes with none of --until, --diff and --out: run those by themselves"
            )
        wanted = _Wanted(to_generation, yes, wait, limit)
        _put_in_force(app, _only(_spaces(app, space)), wanted, settings, cache, operator, json=json)
        return
    compare = until is None or diff
    end = None if until is None else _until(until)
    spaces = _spaces(app, space)
    found: list[dict[str, Any]] = []
    with scratch("replay") as folder, _devices(settings, cache) as devices:
        ids = Unregistered(CachedRegistry(settings.registry, cache))
        with closing(Logs(settings.kafka)) as logs, _lines(write) as lines:
            for contract in [present(declared, devices.moved) for declared in spaces]:
                rules = SpaceRules(contract, ids, generation=devices.generations(contract.name).read)
                require_declared(TopicsAdmin(settings.kafka), rules.topics, rules.partitions)
                with closing(WorkerStore(folder / contract.name)) as stores:
                    Replay(rules, devices, logs, stores, limit).require_whole()
                    with (
                        _kept(app, rules, ids, devices, settings.kafka, until, limit if diff else None) as kept,
                        closing(WorkerStore(kept.folder / "rebuilt")) as rebuilt,
                    ):
                        replay = Replay(rules, devices, logs, stores, limit, rebuilt)
                        reports = _each(replay, rules, end, compare=compare, verdicts=diff, quiet=json)
                        if lines is not None:
                            _write(replay, rules, lines)
                generation = {"generation": rules.topics.generation}
                found.append(generation | _data(contract.name, reports, limit, compared=compare, judged=diff))
    emit({"spaces": found}, as_json=json, table=lambda: Group(*(part for one in found for part in _page(one))))
    wrong = [one["space"] for one in found if one["differing"] or one["changed"]]
    if wrong:
        fail(
            f"{', '.join(wrong)} would come out otherwise: {sum(one['differing'] for one in found)} documents"
            f" and {sum(one['changed'] for one in found)} commands",
            "see docs/replay.md for what may be the cause",
        )


def _kept(
    app: str,
    rules: SpaceRules,
    ids: SchemaIds,
    devices: DeviceView,
    kafka: KafkaSettings,
    until: str | None,
    listed: int | None,
) -> AbstractContextManager[Kept]:
    """Where what is rebuilt lies. With --diff so many commands are `listed`, held against these rows; that has a folder of its own."""
    schemas = " ".join(str(ids.id_of(one.codec.schema)) for one in rules.collections.values())
    ops, receipts = TopicsAdmin(kafka).topic_ids([rules.topics.ops, rules.topics.receipts])
    by = made_by(app, devices.all(), partitions=str(rules.partitions), until=until or "", schemas=schemas)
    if listed is None:
        return kept("replay", f"{rules.name}-{ops}", by)
    return kept("diff", f"{rules.name}-{ops}", {**by, "limit": {"is": str(listed)}, "chain rows": {"topic": receipts}})


class _Wanted(NamedTuple):
    generation: int
    sure: bool
    wait_seconds: float
    limit: int


def _only(spaces: list[SpaceContract]) -> SpaceContract:
    if len(spaces) != 1:
        names = ", ".join(one.name for one in spaces)
        raise typer.BadParameter(f"--to-generation is about one space; name it with --space: {names}")
    return spaces[0]


def _put_in_force(
    app: str,
    contract: SpaceContract,
    wanted: _Wanted,
    settings: ConnectionSettings,
    cache: Path,
    operator: Path | None,
    *,
    json: bool,
) -> None:
    ids = CachedRegistry(settings.registry, cache)
    try:
        SpaceRules(contract, ids).register()
    except UnknownSchema as error:
        fail(
            f"a schema of {contract.name} is not registered, so nobody could read what is written: {error}",
            "put the app into service first (`driftlog topics apply`); what it would change `driftlog replay --diff` says",
        )
    key = OperatorFolder(operator or usual_folder()).operator()
    with Enrolment(settings.kafka, ids, key, trusted_root(settings)) as enrolment:
        with _told_of(contract.name, quiet=json) as told:
            now = present(contract, enrolment.view.moved)
            by = made_by(app, enrolment.view.all(), partitions=str(now.partitions))
            work = NewGeneration(now, ids, settings.kafka, enrolment, wanted.limit, wanted.wait_seconds, told, by)
            found = work.reach(wanted.generation, sure=wanted.sure)
    data = _data(contract.name, found.reports, wanted.limit, compared=bool(found.reports), judged=False)
    data |= _reached(wanted.generation, found)
    emit({"spaces": [data]}, as_json=json, table=lambda: Group(*_generation_page(data)))
    if not data["in_force"]:
        fail(
            f"{contract.name} differs in {data['differing']} documents when it is rebuilt, and nothing was changed",
            "see docs/replay.md for what may be the cause; --yes puts it in force as it is",
        )


@contextmanager
def _told_of(space: str, *, quiet: bool) -> Iterator[Callable[[str, float, float], None]]:
    """A bar on the terminal."""
    with Progress(console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task(space, total=None)
        yield lambda what, done, total: bar.update(
            task, description=f"{space}: {what}", completed=done, total=total or None
        )


def _reached(wanted: int, found: Reached | Refused) -> dict[str, Any]:
    if isinstance(found, Refused):
        return {"generation": wanted, "in_force": False}
    return {
        "generation": wanted,
        "in_force": True,
        "before": found.before.read,
        "made": found.way is Way.MAKE,
        "documents": sum(one.documents for one in found.written),
        "rows": sum(one.rows for one in found.written),
    }


def _generation_page(data: Mapping[str, Any]) -> Iterator[Any]:
    if data["compared"]:
        yield from _page(data)
    if not data["in_force"]:
        return
    said = f"generation {data['generation']} of {data['space']} is in force"
    if data["made"]:
        said += f", with {data['documents']} documents and {data['rows']} rows, after generation {data['before']}"
    yield Text(said)


def _spaces(app: str, wanted: str | None) -> list[SpaceContract]:
    spaces = load_contract(app).spaces
    if wanted is not None and wanted not in spaces:
        raise typer.BadParameter(f"--space {wanted}: the app has {', '.join(spaces)}")
    return [contract for name, contract in spaces.items() if wanted in (None, name)]


def _until(text: str) -> Until:
    if text.isdigit():
        return Until(offset=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--until {text}: give an offset, or a time such as 2026-03-01T12:00") from error
    return Until(at_ms=int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))


@contextmanager
def _devices(settings: ConnectionSettings, cache: Path) -> Iterator[DeviceView]:
    """Who might write, and when."""
    view = DeviceView(settings.kafka, RecordCodecs(CachedRegistry(settings.registry, cache)), trusted_root(settings))
    try:
        view.start(READ_SECONDS)
        yield view
    finally:
        view.close()


@contextmanager
def _lines(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror or error}", "give another --out")
    with file:
        yield file


def _each(
    replay: Replay, rules: SpaceRules, until: Until | None, *, compare: bool, verdicts: bool, quiet: bool
) -> list[PartitionReport]:
    """One partition after the other, with a bar on the terminal."""
    with Progress(console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task(rules.name, total=rules.partitions)

        def told(partition: int, done: int, total: int) -> None:
            bar.update(task, completed=partition + (done / total if total else 1))

        return [
            replay.replay(partition, until, told, compare=compare, verdicts=verdicts)
            for partition in range(rules.partitions)
        ]


def _write(replay: Replay, rules: SpaceRules, file: Any) -> None:
    for partition in range(rules.partitions):
        for key, value in replay.rebuilt(partition).documents():
            collection, scope, name = parse_document_key(key)
            row = rules.collections[collection].codec.decode_row(value)
            if row.pop(META)["deleted"]:
                continue
            line = {"collection": collection, "scope": scope, "id": name, "value": row}
            file.write(jsonlib.dumps(line, default=str) + "\n")


def _data(space: str, reports: list[PartitionReport], limit: int, *, compared: bool, judged: bool) -> dict[str, Any]:
    differences = [d for report in reports for d in report.differences][:limit]
    changes = [c for report in reports for c in report.changes][:limit]
    return {
        "space": space,
        "compared": compared,
        "records": sum(report.records for report in reports),
        "merged_before": sum(report.before for report in reports),
        "ops": sum(report.ops for report in reports),
        "merged_to": {str(report.partition): report.merged_to for report in reports},
        "differing": sum(report.differing for report in reports),
        "differences": [_difference(one) for one in differences],
        "judged": judged,
        "commands": sum(report.commands for report in reports),
        "not_remembered": sum(report.unknown for report in reports),
        "changed": sum(report.changed for report in reports),
        "changes": [_change(one) for one in changes],
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "collection": one.document.collection,
        "scope": one.document.scope,
        "document": one.document.id,
        "what": one.what,
        "fields": {name: {"runs": before, "rebuilt": after} for name, (before, after) in one.fields.items()},
    }


def _change(one: Changed) -> dict[str, Any]:
    return {
        "partition": one.partition,
        "offset": one.offset,
        "replica": one.replica,
        "command_id": one.command,
        "command": one.name,
        "actor": one.actor,
        "runs": _verdict(one.before),
        "rebuilt": _verdict(one.after),
    }


def _verdict(outcome: CommandOutcome) -> dict[str, str]:
    return {"verdict": outcome.verdict.value, "code": outcome.code, "reason": outcome.reason}


def _page(found: Mapping[str, Any]) -> Iterator[Any]:
    about = {name: found[name] for name in ("records", "ops")}
    if found["merged_before"]:
        about["records merged by an earlier attempt"] = found["merged_before"]
    if found["compared"]:
        about["documents that differ"] = found["differing"]
    if found["judged"]:
        about |= {"commands": found["commands"], "come out otherwise": found["changed"]}
        about["not remembered by their row"] = found["not_remembered"]
    yield facts(f"{found['space']}, rebuilt", about)
    if found["differences"]:
        yield rows("documents", ("document", "what", "field", "runs", "rebuilt"), _lines_of(found["differences"]))
    if found["changes"]:
        lines = [
            (c["command_id"], c["command"], c["replica"], c["offset"], _said(c["runs"]), _said(c["rebuilt"]))
            for c in found["changes"]
        ]
        yield rows("commands", ("id", "command", "by", "offset", "was", "comes out"), lines)


def _lines_of(differences: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in differences:
        name = "/".join((one["collection"], one["scope"], one["document"]))
        for field, both in (one["fields"] or {"": {"runs": None, "rebuilt": None}}).items():
            yield name, one["what"], field, both["runs"], both["rebuilt"]


def _said(verdict: Mapping[str, str]) -> str:
    return f"{verdict['verdict']} {verdict['code']}".strip()
