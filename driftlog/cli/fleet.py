"""`driftlog fleet list|versions|waiting|moves`: the devices as they last said they are, those first that need a person."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, rows
from driftlog.cli.operator import trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, Cache, Json, duration_ms, told
from driftlog.cli.texts import moment
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import NO_DEVICES
from driftlog_schemas.loading import load_contract
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.spans import span
from driftlog_schemas.support import Floor, unmet
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.conflict_lists import Filter
from driftlog_streams.reading.fleet import (
    Member,
    app_component,
    fleet_of,
    read_heartbeats,
    space_component,
    versions_of,
)
from driftlog_streams.reading.followers import behind
from driftlog_streams.reading.waiting_commands import Entry, data_of, taken, waiting_in
from driftlog_streams.registry.enrolment import Enrolment

app = typer.Typer(no_args_is_help=True, help="The devices as they say they are. Example: driftlog fleet list")

SHOWN = 5
"""Devices that are named beside a version."""


@app.command("list")
@told
@connected
def list_(
    silent: Annotated[str, typer.Option(help="Say so of a device that was not heard of for so long.")] = "1d",
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Every enrolled device: connection, when it was heard, what it holds back, its clock; those first that need a person.

    Heartbeats are not signed: they are for looking, not for deciding. Example: driftlog fleet list --silent 2h
    """
    silent_ms = duration_ms("--silent", silent)
    if not silent_ms:
        raise typer.BadParameter("'' is no duration: write for example 2h or 1d", param_hint="'--silent'")
    now_ms = time.time_ns() // 1_000_000
    members = _members(settings, cache)
    data = sorted((_data(m, now_ms, silent_ms) for m in members), key=lambda d: (not d["needs"], d["device_id"]))
    columns = ("device", "status", "connection", "heard", "pending", "oldest", "clock", "needs")
    emit(data, as_json=json, table=lambda: rows("fleet", columns, map(_line, data)))


@app.command()
@told
@connected
def versions(
    target: Annotated[
        str | None,
        typer.Option("--app", envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of an app: who runs another release?"),
    ] = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Which release of the agent, of the app and of each space's declarations the active devices run; of the app also until when it is supported.

    Example: driftlog fleet versions --app shop:app
    """
    contract = AppContract("", {}) if target is None else load_contract(target)
    ours = {space_component(n): s.release for n, s in contract.spaces.items()}
    if contract.version:
        ours[app_component(contract.name)] = contract.version
    members = _members(settings, cache)
    heard = {m.device.device_id: m.heard.at_ms for m in members if m.heard is not None and m.heard.at_ms != UNTIMED}
    now_ms = time.time_ns() // 1_000_000
    data: list[dict[str, Any]] = [
        {
            "component": component,
            "version": version,
            "devices": devices,
            "last_heard": moment(last) if (last := max((heard.get(name, 0) for name in devices), default=0)) else None,
            "of_this_app": ours[component] == version if component in ours else None,
            "support": _support(version, contract.floors, now_ms)
            if contract.version and component == app_component(contract.name)
            else None,
        }
        for (component, version), devices in versions_of(members).items()
    ]
    said = {True: "yes", False: "no", None: ""}
    lines = [
        (
            d["component"],
            d["version"] or "none",
            len(d["devices"]),
            _some(d["devices"]),
            d["last_heard"],
            said[d["of_this_app"]],
            d["support"] and d["support"]["told"],
        )
        for d in data
    ]
    columns = ("component", "version", "devices", "which", "last heard", "this app's", "support")
    emit(data, as_json=json, table=lambda: rows("versions", columns, lines))


@app.command()
@told
@connected
def waiting(
    kind: Annotated[
        Literal["review", "rejected"] | None,
        typer.Option(help="Those on review lists, or those that were rejected after they had been answered."),
    ] = None,
    scope: Annotated[str, typer.Option(help="Of this scope only.")] = "",
    device: Annotated[str, typer.Option(help="At this device only.")] = "",
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Commands that wait for a person at a device, and what to type there; with `driftlog conflicts list` all that the console's inbox has.

    As devices have last said, each the oldest of its review list and the newest rejected ones; `more` counts those that it did not name.

    Example: driftlog fleet waiting --kind review --scope s1
    """
    found = waiting_in(_members(settings, cache))
    entries = taken(found.entries, Filter(scope=scope, device=device), kind or "")
    more = [asdict(u) for u in found.unnamed if kind in (None, u.kind) and device in ("", u.device_id)]
    left = sum(int(one["count"]) for one in more)
    rest = f", and {left} more that devices did not name" if left else ""
    columns = ("kind", "device", "given", "command", "document", "why", "do at the device")
    title = f"{len(entries)} {'command waits' if len(entries) == 1 else 'commands wait'} for a person{rest}"
    data = {"commands": [data_of(one) for one in entries], "more": more}
    emit(data, as_json=json, table=lambda: rows(title, columns, map(_waits, entries)))


@app.command()
@told
@connected
def moves(*, settings: ConnectionSettings, cache: Cache = DEFAULT_CACHE, json: Json = False) -> None:
    """Spaces that were given another number of partitions, and which devices need the topics of before: they have not followed yet, or were never heard of.

    Heartbeats are not signed, and a device that is silent may have followed since: where one is named that will not come back, revoke it.

    Example: driftlog fleet moves
    """
    with _registry(settings, cache) as enrolment:
        found = behind(_members_of(enrolment, settings, cache), enrolment.view.lines.moves())
    data = [
        {
            "topics": one.space,
            "goes_on": one.goes_on,
            "partitions": one.partitions,
            "needed_by": [_left(member) for member in one.devices],
            "never_heard_of": [member.device.device_id for member in one.unheard],
        }
        for one in found
    ]
    lines = [
        (
            f"{one.space}.*",
            one.goes_on,
            one.partitions,
            _some([member.device.device_id for member in one.devices]) or "nobody that was heard of",
            _some([member.device.device_id for member in one.unheard]),
        )
        for one in found
    ]
    columns = ("topics", "goes on in", "partitions", "needed by", "never heard of")
    emit(data, as_json=json, table=lambda: rows("moves", columns, lines) if lines else "no space has moved")


def _left(member: Member) -> dict[str, Any]:
    """A device that has not followed, for `--json`."""
    assert member.heard is not None, "its last word tells where it is"
    at = member.heard.at_ms
    return {
        "device_id": member.device.device_id,
        "heard": None if at == UNTIMED else moment(at),
        "pending": member.heard.word.pending,
    }


def _waits(entry: Entry) -> tuple[object, ...]:
    command = entry.command
    more = f" and {command.documents - 1} more" if command.documents > 1 else ""
    return (
        command.kind,
        entry.device_id,
        moment(command.at_ms),
        f"{command.name or '(write)'} by {command.actor or 'nobody named'}",
        f"{command.collection}/{command.scope}/{command.document}{more}",
        f"{command.code}: {command.reason}",
        ", or ".join(entry.acts),
    )


def _members(settings: ConnectionSettings, cache: Path) -> list[Member]:
    with _registry(settings, cache) as enrolment:
        return _members_of(enrolment, settings, cache)


def _registry(settings: ConnectionSettings, cache: Path) -> Enrolment:
    return Enrolment(settings.kafka, _ids(settings, cache), None, trusted_root(settings))


def _ids(settings: ConnectionSettings, cache: Path) -> CachedRegistry:
    return CachedRegistry(settings.registry, cache, register=False)


def _members_of(enrolment: Enrolment, settings: ConnectionSettings, cache: Path) -> list[Member]:
    devices = [device for device in enrolment.all() if device.device_id not in NO_DEVICES]
    heard = read_heartbeats(settings.kafka, RecordCodecs(_ids(settings, cache)))
    return fleet_of(devices, heard, enrolment.signs().cloned)


def _support(version: str, floors: tuple[Floor, ...], now_ms: int) -> dict[str, Any]:
    """Is a version of the app supported, by what `--app` declares and this machine's clock?"""
    floor = unmet(version, floors)
    if floor is None:
        return {"state": "supported", "ends": None, "needs": None, "told": "yes"}
    left = floor.from_ms - now_ms
    state, when = ("ending", f"ends in {span(left)}") if left > 0 else ("ended", f"ended {span(-left)} ago")
    return {
        "state": state,
        "ends": moment(floor.from_ms),
        "needs": floor.version,
        "told": f"{when}: update to {floor.version}",
    }


def _data(member: Member, now_ms: int, silent_ms: int) -> dict[str, Any]:
    heard = member.heard
    word = heard.word if heard is not None else None
    silent = member.silent_ms(now_ms)
    return {
        "device_id": member.device.device_id,
        "status": member.device.latest.status.value,
        "heard": moment(now_ms - silent) if silent is not None else None,
        "heard_seconds_ago": silent / 1000 if silent is not None else None,
        "replica": word.replica if word else None,
        "connection": word.connection if word else None,
        "pending": word.pending if word else None,
        "oldest_pending": moment(word.oldest_pending_ms) if word and word.pending and word.oldest_pending_ms else None,
        "review": word.review if word else None,
        "rejected": word.rejected if word else None,
        "clock_skew_ms": word.clock_skew_ms if word else None,
        "disk_bytes": word.disk_bytes if word else None,
        "mismatches": word.mismatches if word else None,
        "differing": list(word.differing) if word else None,
        "rebased": word.rebased if word else None,
        "why": (word.why or None) if word else None,
        "versions": dict(word.versions) if word else None,
        "needs": list(member.needs(now_ms, silent_ms)),
    }


def _line(data: dict[str, Any]) -> tuple[object, ...]:
    ago = data["heard_seconds_ago"]
    skew = data["clock_skew_ms"]
    return (
        data["device_id"],
        data["status"],
        data["connection"],
        f"{span(int(ago * 1000))} ago" if ago is not None else "never" if data["replica"] is None else "",
        data["pending"],
        data["oldest_pending"],
        f"{skew / 1000:+.1f} s" if skew is not None else None,
        "; ".join(data["needs"]),
    )


def _some(devices: list[str]) -> str:
    more = len(devices) - SHOWN
    return ", ".join(devices[:SHOWN]) + (f" and {more} more" if more > 0 else "")
