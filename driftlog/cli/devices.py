"""`driftlog devices enrol|list|show|revoke|wipe|renew|rotate-key`: who may write.

Whoever changes the registry signs with the operator's key; a first enrolment makes one where there is none. What is said about a known
device counts a few seconds later, so that every worker has heard of it by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from driftlog.cli import device_facts
from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, facts, rows
from driftlog.cli.operator import OperatorPath, first_operator_key, operator_key, trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, Cache, Json, duration_ms, fail, require_scopes, told
from driftlog.cli.texts import moment
from driftlog_schemas.contract import AppContract
from driftlog_schemas.devices import PUBLISH, DeviceStatus
from driftlog_schemas.identity import CLOSER, CLOUD
from driftlog_schemas.loading import load_contract
from driftlog_schemas.operator_keys import OperatorKey
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.core.rights import ALL, DIRECT, FORGET
from driftlog_streams.registry.enrolment import Enrolment

app = typer.Typer(
    no_args_is_help=True, help="Who may write. Example: driftlog devices enrol store-1 --out store-1.json"
)

DeviceArgument = Annotated[str, typer.Argument(help="Name of the device: letters, digits, '-' or '_'.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where the identity file goes; default: DEVICE.json.")]
KeepKeys = Annotated[bool, typer.Option("--keep-keys", help="Let the keys of before go on counting.")]


@app.command()
@told
@connected
def enrol(
    device: DeviceArgument,
    identity: Out = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope it may write; repeat for more. Default: all.")
    ] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="A command it may send, or _write for writes without one; repeat for more. Default: all."),
    ] = None,
    may_publish: Annotated[
        bool,
        typer.Option(
            "--may-publish", help='It may write collections with direction="down" too, as a head office does.'
        ),
    ] = False,
    valid: Annotated[str, typer.Option(help="How long the permit holds, for example 365d. Default: no end.")] = "",
    grace: Annotated[str, typer.Option(help="For how long after its end it is still honoured.")] = "",
    keep_keys: KeepKeys = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--app", envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of the app, to say what a right amounts to."
        ),
    ] = None,
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Make a device's key, let it write, and save its identity file. A known device gets a new key, and its old ones end.

    A right to a command that does not declare what it touches is a right to write its whole space; with --app that is said.
    Example: driftlog devices enrol store-1 --out store-1.json --scope s1 --permission sell --valid 365d
    """
    if device == CLOUD:
        fail(f"the name {CLOUD!r} is the workers' own", "see `driftlog devices enrol-cloud`, or choose another name")
    if device == CLOSER:
        fail(f"the name {CLOSER!r} is that by which op logs are closed", "choose another name")
    require_scopes(scope or ())
    valid_ms, grace_ms = duration_ms("--valid", valid), duration_ms("--grace", grace)
    out = identity or Path(f"{device}.json")
    if "" in (permission or ()):
        raise typer.BadParameter("a command has a name; write one like sell", param_hint="'--permission'")
    if FORGET in (permission or ()):
        raise typer.BadParameter(
            f"{FORGET} is what workers may, and no command; for them there is `driftlog devices enrol-cloud`",
            param_hint="'--permission'",
        )
    contract = None if target is None else load_contract(target)
    if contract is not None and (unknown := sorted({*(permission or ())} - _GRANTED - _commands(contract))):
        known = ", ".join(sorted(_commands(contract))) or "none"
        raise typer.BadParameter(
            f"{target} has no command {', '.join(unknown)}; its commands: {known}", param_hint="'--permission'"
        )
    unbound = None if contract is None else _unbound(contract, permission)
    permissions = tuple(permission or ("*",))
    terms = (tuple(scope or ("*",)), (*permissions, PUBLISH) if may_publish else permissions)
    with _first_enrolment(settings, cache, operator) as enrolment:
        line = enrolment.enrol(device, out, *terms, valid_ms, grace_ms, keep_keys=keep_keys)
    said = f"{line.device_id} is enrolled; its identity is {out}: keep it secret"
    if unbound:
        said += f"\nit may write whole spaces: {', '.join(unbound)} declare nothing that they touch"
    if contract is None and (untried := sorted({*permissions} - _GRANTED)):
        said += f"\nwithout --app nobody has looked whether there are such commands: {', '.join(untried)}"
    if contract is None and set(permissions) != {DIRECT}:
        said += "\nwhere a command declares nothing that it touches it may write the whole space; with --app it is said which do"
    emit(
        {**device_facts.data(line), "identity": str(out), "unbound_commands": unbound},
        as_json=json,
        table=lambda: said,
    )


@app.command("enrol-cloud")
@told
@connected
def enrol_cloud(
    identity: Annotated[Path, typer.Option("--out", help="Where the identity file goes.")] = Path("cloud.json"),
    keep_keys: KeepKeys = False,
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Make the identity by which workers let partitions forget what was deleted, and lives that are over. It may do nothing else.

    Give its file to every worker (`driftlog worker --cloud-identity`). Example: driftlog devices enrol-cloud --out cloud.json
    """
    with _first_enrolment(settings, cache, operator) as enrolment:
        line = enrolment.enrol(CLOUD, identity, (), (FORGET,), keep_keys=keep_keys)
    said = f"the workers' identity is {identity}: give it to them with --cloud-identity, and keep it secret"
    emit({**device_facts.data(line), "identity": str(identity)}, as_json=json, table=lambda: said)


@app.command("rotate-key")
@told
@connected
def rotate_key(
    device: DeviceArgument,
    identity: Out = None,
    keep_keys: KeepKeys = False,
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Give a device a new key on the terms it has. What the old one signed before stays good.

    Example: driftlog devices rotate-key store-1 --out store-1.new.json
    """
    target = identity or Path(f"{device}.json")
    with _enrolment(settings, cache, operator_key(operator)) as enrolment:
        line = enrolment.rotate_key(device, target, keep_keys=keep_keys)
    said = f"{line.device_id} has a new key; its identity is {target}: keep it secret"
    emit({**device_facts.data(line), "identity": str(target)}, as_json=json, table=lambda: said)


@app.command()
@told
@connected
def renew(
    device: DeviceArgument,
    valid: Annotated[str, typer.Option(help="How long the permit holds from now on.")] = "365d",
    grace: Annotated[
        str, typer.Option(help="For how long after its end it is still honoured; default: as before.")
    ] = "",
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Let a device's permit hold for longer. Example: driftlog devices renew store-1 --valid 365d"""
    valid_ms, grace_ms = duration_ms("--valid", valid), duration_ms("--grace", grace) if grace else None
    with _enrolment(settings, cache, operator_key(operator)) as enrolment:
        line = enrolment.renew(device, valid_ms, grace_ms)
    said = f"{line.device_id} may write until {moment(line.latest.not_after_ms)}"
    emit(device_facts.data(line), as_json=json, table=lambda: said)


@app.command("list")
@told
@connected
def list_(
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """All devices; `cloned` is one that began too many lives within an hour: is its folder or key copied?

    Example: driftlog devices list --json
    """
    with _enrolment(settings, cache) as enrolment:
        devices, signs = enrolment.all(), enrolment.signs()
    lines = [
        (
            d.device_id,
            device_facts.status(d, signs),
            ", ".join(d.latest.scopes),
            ", ".join(d.latest.permissions),
            device_facts.end(d),
            "cloned" if d.device_id in signs.cloned else "",
        )
        for d in devices
    ]
    columns = ("device", "status", "scopes", "permissions", "until", "look at")
    emit([device_facts.data(d, signs) for d in devices], as_json=json, table=lambda: rows("devices", columns, lines))


@app.command()
@told
@connected
def show(
    device: DeviceArgument,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """One device, with the history of its keys and terms. Example: driftlog devices show store-1"""
    with _enrolment(settings, cache) as enrolment:
        line, signs = enrolment.find(device), enrolment.signs()
    data = device_facts.data(line, signs)
    emit(data, as_json=json, table=lambda: facts(line.device_id, data))


@app.command()
@told
@connected
def revoke(
    device: DeviceArgument,
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Nothing more of the device is taken; what arrived before stays. Example: driftlog devices revoke store-1"""
    with _enrolment(settings, cache, operator_key(operator)) as enrolment:
        _set(enrolment, device, DeviceStatus.REVOKED, json)


@app.command()
@told
@connected
def wipe(
    device: DeviceArgument,
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Like revoke, and the device erases its key and its replica when it connects; `list` says `wiped` when it has. Example: driftlog devices wipe store-1"""
    with _enrolment(settings, cache, operator_key(operator)) as enrolment:
        _set(enrolment, device, DeviceStatus.WIPE, json)


_GRANTED = frozenset({ALL, DIRECT, PUBLISH})
"""What may be permitted besides commands."""


def _commands(contract: AppContract) -> set[str]:
    return {name for space in contract.spaces.values() for name in space.commands}


def _unbound(contract: AppContract, permissions: Sequence[str] | None) -> list[str]:
    """The granted commands that do not declare what they touch."""
    granted = set(permissions or ("*",))
    return sorted(
        name
        for space in contract.spaces.values()
        for name, command in space.commands.items()
        if command.touches is None and ("*" in granted or name in granted)
    )


def _enrolment(settings: ConnectionSettings, cache: Path, operator: OperatorKey | None = None) -> Enrolment:
    ids = CachedRegistry(settings.registry, cache, register=operator is not None)
    return Enrolment(settings.kafka, ids, operator, trusted_root(settings))


def _first_enrolment(settings: ConnectionSettings, cache: Path, operator: Path | None) -> Enrolment:
    """The same by the operator's key, which is made where there is none yet."""
    ids = CachedRegistry(settings.registry, cache, register=True)
    return _enrolment(settings, cache, first_operator_key(operator, settings, ids))


def _set(enrolment: Enrolment, device: str, status: DeviceStatus, json: bool) -> None:
    line = enrolment.set_status(device, status)
    said = f"{line.device_id} is {status.value} since {moment(line.latest.from_ms)}"
    emit(device_facts.data(line), as_json=json, table=lambda: said)
