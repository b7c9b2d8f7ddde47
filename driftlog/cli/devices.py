"""`driftlog devices enrol|list|show|revoke|wipe`: who may write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from driftlog.cli.terminal import (
    DEFAULT_CACHE,
    Bootstrap,
    Cache,
    Config,
    Json,
    Registry,
    emit,
    facts,
    moment,
    rows,
    told,
)
from driftlog_schemas.messages import Device, DeviceStatus
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.registry.enrolment import Enrolment

app = typer.Typer(
    no_args_is_help=True, help="Who may write. Example: driftlog devices enrol store-1 --out store-1.json"
)

DeviceArgument = Annotated[str, typer.Argument(help="Name of the device: letters, digits, '-' or '_'.")]


@app.command()
@told
def enrol(
    device: DeviceArgument,
    identity: Annotated[Path | None, typer.Option("--out", help="Where the identity file goes.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope it may write; repeat for more. Default: all.")
    ] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="A command it may send, or _write for writes without one; repeat for more. Default: all."),
    ] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Make a device's key, let it write, and save its identity file; a known device begins a new incarnation.

    Example: driftlog devices enrol store-1 --out store-1.json --scope s1 --permission sell
    """
    target = identity or Path(f"{device}.json")
    with _enrolment(bootstrap, registry, config, cache) as enrolment:
        line = enrolment.enrol(device, target, scope or ("*",), permission or ("*",))
    said = f"{line.device_id} is enrolled (incarnation {line.incarnation}); its identity is {target}: keep it secret"
    emit({**_data(line), "identity": str(target)}, as_json=json, table=lambda: said)


@app.command("list")
@told
def list_(
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """All devices. Example: driftlog devices list --json"""
    with _enrolment(bootstrap, registry, config, cache) as enrolment:
        devices = enrolment.all()
    lines = [
        (d.device_id, d.incarnation, d.status.value, ", ".join(d.scopes), ", ".join(d.permissions)) for d in devices
    ]
    columns = ("device", "incarnation", "status", "scopes", "permissions")
    emit([_data(d) for d in devices], as_json=json, table=lambda: rows("devices", columns, lines))


@app.command()
@told
def show(
    device: DeviceArgument,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """One device. Example: driftlog devices show store-1"""
    with _enrolment(bootstrap, registry, config, cache) as enrolment:
        line = enrolment.find(device)
    emit(_data(line), as_json=json, table=lambda: facts(line.device_id, _data(line)))


@app.command()
@told
def revoke(
    device: DeviceArgument,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """From now on nothing of the device is taken; what arrived before stays. Example: driftlog devices revoke store-1"""
    _set(device, DeviceStatus.REVOKED, bootstrap, registry, config, cache, json)


@app.command()
@told
def wipe(
    device: DeviceArgument,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Like revoke, and the device is told to erase its replica when it connects. Example: driftlog devices wipe store-1"""
    _set(device, DeviceStatus.WIPE, bootstrap, registry, config, cache, json)


def _enrolment(bootstrap: str | None, registry: str | None, config: Path | None, cache: Path) -> Enrolment:
    settings = ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry)
    return Enrolment(settings.kafka, CachedRegistry(settings.registry, cache, register=True))


def _set(
    device: str,
    status: DeviceStatus,
    bootstrap: str | None,
    registry: str | None,
    config: Path | None,
    cache: Path,
    json: bool,
) -> None:
    with _enrolment(bootstrap, registry, config, cache) as enrolment:
        line = enrolment.set_status(device, status)
    said = f"{line.device_id} is {line.status.value} since {moment(line.status_since_ms)}"
    emit(_data(line), as_json=json, table=lambda: said)


def _data(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "incarnation": device.incarnation,
        "status": device.status.value,
        "status_since": moment(device.status_since_ms),
        "enrolled": moment(device.enrolled_ms),
        "scopes": list(device.scopes),
        "permissions": list(device.permissions),
        "keys": sorted(device.keys),
    }
