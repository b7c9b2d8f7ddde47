"""`driftlog parked list|show|retry|drop`: what the cloud has set aside, and why.

A parked command needs nobody: it is merged by itself when the change that it waits for comes, or given back to its device when it has waited
for as long as a partition remembers. A person who knows that it will not come gives it up; that is said in the name of the workers' own
device, whose key it takes. What is quarantined can be given to the workers again, or taken off the list by who has seen it.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, facts, out, rows
from driftlog.cli.operator import trusted_root
from driftlog.cli.present import present_contract
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Cache, Json, fail, told
from driftlog.cli.texts import moment
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.core.arrival import DROPPED
from driftlog_streams.core.net import ONE_COMMAND
from driftlog_streams.reading.giving_up import give_up
from driftlog_streams.reading.set_aside import QUARANTINED, SetAside, read_set_aside, send_again
from driftlog_streams.reading.set_aside import drop as drop_seen
from driftlog_streams.registry.cloud_identity import load_cloud_identity
from driftlog_streams.registry.in_force import devices_now, generations_now
from driftlog_streams.registry.sending_again import ended_key, signed_anew

app = typer.Typer(
    no_args_is_help=True,
    help="Commands that wait for an earlier change, and records that could not be decided. "
    "Example: driftlog parked list --app shop:app",
)
CloudIdentity = Annotated[
    Path | None,
    typer.Option(
        envvar="DRIFTLOG_CLOUD_IDENTITY",
        help="Identity of the workers: to give up a command that waits, or to sign anew what they had signed.",
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `driftlog parked list` has it.")]


@app.command("list")
@told
@connected
def list_(
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """What is set aside, the oldest first. Example: driftlog parked list --app shop:app"""
    found = _read(app, settings, cache)
    lines = [(one.id, one.space, one.what, one.device_id, one.code, one.reason, moment(one.append_ms)) for one in found]
    columns = ("id", "space", "what", "device", "code", "reason", "logged")
    emit([_data(one) for one in found], as_json=json, table=lambda: rows("set aside", columns, lines))


@app.command()
@told
@connected
def show(
    id: Id,
    app: AppOption,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """One of them. Example: driftlog parked show 0:1742 --app shop:app"""
    one = _one(id, app, settings, cache)
    data = _data(one)
    emit(data, as_json=json, table=lambda: facts(one.id, data))


@app.command()
@told
@connected
def retry(
    id: Id,
    app: AppOption,
    cloud_identity: CloudIdentity = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Append a quarantined record to the op topic once more, as it came.

    For records of which nothing was taken: a schema that nobody could name, a batch that failed whole. A command that was quarantined by
    itself cannot be retried from here: its device was told, keeps it, and sends it again in another batch.

    What workers have signed, a failed reaction, by a key that has ended since is signed anew, with the identity that they have now.

    Example: driftlog parked retry 0:1742 --app shop:app
    Example: driftlog parked retry 0:1742 --app shop:app --cloud-identity cloud.json
    """
    one = _one(id, app, settings, cache)
    if one.what != QUARANTINED:
        fail(f"{id} waits for an earlier change", "it is merged by itself when that comes: look after its device")
    if one.code == ONE_COMMAND:
        fail(
            f"{id} is a command whose batch was taken: the same record again would change nothing",
            "its device keeps it and sends it again by itself; mend what the reason names, then `parked drop` it from this list",
        )
    send_again(settings.kafka, _that_counts(one, cloud_identity, settings, cache))
    if json:
        emit({"id": one.id, "space": one.space, "partition": one.partition}, as_json=True, table=lambda: "")
    else:
        out.print(f"the record {one.id} is in {one.space}.ops once more; a worker decides it anew")


@app.command()
@told
@connected
def drop(
    id: Id,
    app: AppOption,
    cloud_identity: CloudIdentity = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Take a quarantined record off the list: you have seen it. Or give up a command that waits for a change that will not come.

    Of a quarantined record nothing is merged by that, and nothing undone. A command that is given up is rejected as `dropped`, for good:
    its device takes its effects back and tells the app. That takes a running worker, and the workers' identity (`driftlog devices enrol-cloud`).

    Example: driftlog parked drop 0:1742 --app shop:app
    Example: driftlog parked drop store-1.k3f7q2w7/12/0197 --app shop:app --cloud-identity cloud.json
    """
    one = _one(id, app, settings, cache)
    if one.what != QUARANTINED:
        _give_up(one, cloud_identity, settings, cache, json)
        return
    drop_seen(settings.kafka, one)
    emit({"id": one.id, "space": one.space}, as_json=json, table=lambda: f"{one.id} is off the list")


def _that_counts(one: SetAside, path: Path | None, settings: ConnectionSettings, cache: Path) -> SetAside:
    """The same, signed by a key that counts now."""
    ids = CachedRegistry(settings.registry, cache)
    batches, devices = BatchCodec(ids), devices_now(settings.kafka, RecordCodecs(ids), trusted_root(settings))
    key = ended_key(one.record, batches, devices, time.time_ns() // 1_000_000)
    if not key:
        return one
    if one.device_id != CLOUD:
        fail(
            f"{one.id} would be refused: key {key!r} of {one.device_id!r} has ended",
            "the device keeps what it has written, and sends it again under its new key; then `parked drop` it from this list",
        )
    if path is None:
        fail(
            f"{one.id} would be refused: the workers' key {key!r}, which has signed it, has ended",
            "give the identity that they have now with --cloud-identity: it is signed anew",
        )
    return replace(one, record=signed_anew(one.record, batches, devices, load_cloud_identity(path)))


def _give_up(one: SetAside, path: Path | None, settings: ConnectionSettings, cache: Path, json: bool) -> None:
    if path is None:
        fail(
            f"{one.id} waits for an earlier change: that it is given up is said in the workers' name",
            "give their identity with --cloud-identity (`driftlog devices enrol-cloud` makes it)",
        )
    identity, ids = load_cloud_identity(path), CachedRegistry(settings.registry, cache)
    in_force = generations_now(settings.kafka, RecordCodecs(ids), trusted_root(settings))
    outcome = give_up(settings.kafka, one, identity, ids, in_force(one.space).merged)
    if outcome is None:
        fail(
            f"the word stands in {topics.ops_topic(one.space)}, and no worker has answered yet",
            "start one: it counts as soon as it is read",
        )
    if outcome.code != DROPPED:
        fail(
            f"{one.id} is decided already: {outcome.verdict.value} {outcome.code}".rstrip(), "there is nothing to drop"
        )
    data = {"id": one.id, "space": one.space, "verdict": outcome.verdict.value, "code": outcome.code}
    emit(data, as_json=json, table=lambda: f"{one.id} is given up; its device is told {DROPPED!r}")


def _read(target: str, settings: ConnectionSettings, cache: Path) -> list[SetAside]:
    ids = CachedRegistry(settings.registry, cache)
    result: list[SetAside] = []
    for space in present_contract(target, settings, cache).spaces.values():
        result += read_set_aside(settings.kafka, space.name, space.partitions, ids)
    return result


def _one(id: str, target: str, settings: ConnectionSettings, cache: Path) -> SetAside:
    found = [one for one in _read(target, settings, cache) if one.id == id]
    if not found:
        fail(f"nothing of id {id!r} is set aside", "see `driftlog parked list`")
    if len(found) > 1:
        fail(f"{id!r} is in several spaces: {', '.join(one.space for one in found)}", "give an app with one of them")
    return found[0]


def _data(one: SetAside) -> dict[str, Any]:
    data = asdict(one)
    data["logged"], data["bytes"] = moment(data.pop("append_ms")), len(data.pop("record"))
    return data
