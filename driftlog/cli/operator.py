"""`driftlog operator init|rotate|show`: whose word the device registry is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, err, facts
from driftlog.cli.terminal import DEFAULT_CACHE, Cache, Json, fail, told
from driftlog.cli.texts import moment
from driftlog_schemas.errors import ContractError
from driftlog_schemas.operator_keys import OperatorKey
from driftlog_schemas.public_key import key_text
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.errors import WorkerError
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.registry.operator_folder import OperatorFolder, usual_folder
from driftlog_streams.registry.operators_clock import broker_ahead_ms, own_ms
from driftlog_streams.registry.pinning import given_root

app = typer.Typer(no_args_is_help=True, help="Whose word the device registry is. Example: driftlog operator init")

OperatorPath = Annotated[
    Path | None,
    typer.Option(
        "--operator", envvar="DRIFTLOG_OPERATOR", help="Folder of the operator's keys.", show_default="the user's own"
    ),
]


@app.command()
@told
@connected
def init(
    operator: OperatorPath = None,
    *,
    settings: ConnectionSettings,
    json: Json = False,
) -> None:
    """Make a root key and an operator's key that it certifies. Example: driftlog operator init --operator ./keys

    The key counts from now on by the broker's clock. Where the broker cannot be asked, that is said, and this machine's clock is taken.
    """
    folder = OperatorFolder(operator or usual_folder())
    folder.require_none()
    try:
        ahead_ms = broker_ahead_ms(settings.kafka)
    except (ContractError, WorkerError) as error:
        ahead_ms = 0
        err.print(
            f"the key is dated by this machine's clock, for the broker's time cannot be had ({error}): if the two may be apart,"
            f" remove {folder.folder} and run this again when the broker can be asked, before anybody is enrolled",
            soft_wrap=True,
            markup=False,
        )
    made = folder.create(own_ms() + ahead_ms)
    err.print(f"put {folder.root_file} where it is safe: only `driftlog operator rotate` needs it", soft_wrap=True)
    _show(made, folder, json)


@app.command()
@told
def show(operator: OperatorPath = None, json: Json = False) -> None:
    """The operator's key and the root to pin. Example: driftlog operator show"""
    folder = OperatorFolder(operator or usual_folder())
    _show(folder.operator(), folder, json)


@app.command()
@told
@connected
def rotate(
    operator: OperatorPath = None,
    root: Annotated[Path | None, typer.Option(help="The root key's file, if it is kept elsewhere.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Also while a space is being moved or switched.")] = False,
    settings: ConnectionSettings,
    cache: Cache = DEFAULT_CACHE,
    json: Json = False,
) -> None:
    """Make the next operator's key and sign every line again with it; the one before counts no more.

    While a space is given another number of partitions, or goes over to another generation, it is refused: the command that does it has the key of before, and would end.

    Example: driftlog operator rotate --root /media/safe/root.json
    """
    folder = OperatorFolder(operator or usual_folder())
    key = folder.root(root)
    ids = CachedRegistry(settings.registry, cache, register=True)
    with Enrolment(settings.kafka, ids, folder.operator(), trusted_root(settings)) as enrolment:
        made = enrolment.rotate_operator(key, folder.keep, sure=yes)
    _show(made, folder, json)


def operator_key(folder: Path | None) -> OperatorKey:
    """The operator's key. Raises `IdentityProblem` where there is none."""
    return OperatorFolder(folder or usual_folder()).operator()


def first_operator_key(folder: Path | None, settings: ConnectionSettings, ids: CachedRegistry) -> OperatorKey:
    """The operator's key, made where there is none and the registry is nobody's yet, and said so. Raises as `broker_ahead_ms` does, before it is made."""
    found = OperatorFolder(folder or usual_folder())
    if found.exists:
        return found.operator()
    _require_nobodys(found, settings, ids)
    made = found.create(own_ms() + broker_ahead_ms(settings.kafka))
    err.print(
        f"made an operator's key in {found.folder}: it signs who may write, keep it safe;"
        f" pin its root everywhere with trust.root = {key_text(made.certificate.root)}",
        soft_wrap=True,
    )
    return made


def _require_nobodys(found: OperatorFolder, settings: ConnectionSettings, ids: CachedRegistry) -> None:
    """A key that is made here has a root of its own. Where another is believed, nobody would believe what it signs, and that would take the place of
    a line that is believed."""
    root = trusted_root(settings)
    if root is None:
        with Enrolment(settings.kafka, ids) as reading:
            root = reading.view.lines.root
    if root is not None:
        fail(
            f"{found.folder} has no operator's key, and the device registry is another operator's, whose root is {key_text(root)}",
            "name the folder of that operator's keys with --operator; to begin with a root of your own: `driftlog operator init`",
        )


def trusted_root(settings: ConnectionSettings) -> bytes | None:
    """The root that is believed: the settings', else that of the operator who works here, else the first that is met."""
    given = given_root(settings.trust.root)
    folder = OperatorFolder(usual_folder())
    if given is None and folder.exists:
        return folder.operator().certificate.root
    return given


def _show(key: OperatorKey, folder: OperatorFolder, json: bool) -> None:
    certificate = key.certificate
    data: dict[str, Any] = {
        "root": key_text(certificate.root),
        "operator": key_text(certificate.public),
        "generation": certificate.generation,
        "until": moment(certificate.until_ms),
        "folder": str(folder.folder),
    }
    emit(data, as_json=json, table=lambda: facts("operator", data))
