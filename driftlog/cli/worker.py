"""`driftlog worker`: the supervised Faust workers of an app."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from driftlog.cli.extras import needs
from driftlog.cli.terminal import AppOption, Bootstrap, Config, Registry, fail, told
from driftlog_schemas.errors import BadSetting, BrokerUnreachable, IdentityProblem, RegistryUnreachable
from driftlog_schemas.loading import load_contract
from driftlog_streams.errors import Exit, SetupProblem
from driftlog_streams.process.cores import processes, usable_cores
from driftlog_streams.process.slot_hold import SlotHold
from driftlog_streams.process.supervisor import Supervisor, plans
from driftlog_streams.process.worker import check_schemas, check_topics, chosen_spaces, work
from driftlog_streams.process.worker_id import worker_id
from driftlog_streams.registry.cloud_identity import cloud_identity as cloud_identity_of
from driftlog_streams.settings import WorkerSettings, worker_count
from driftlog_streams.telling.logs import configure_logs

app = typer.Typer(rich_markup_mode=None)


class LogLevel(StrEnum):
    """From much to little."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _worker_count(text: str) -> str:
    try:
        worker_count(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return text


@app.command()
@told
def worker(
    app: AppOption,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="DRIFTLOG_DATA_DIR",
            help="Folder of the state stores (a cache of the read model); driftlog-worker by default. One per worker.",
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            envvar="DRIFTLOG_WORKERS",
            parser=_worker_count,
            metavar="N|auto",
            help="Processes per space, 1 by default; auto: what cores this host has, shared by the spaces, and never more than partitions.",
        ),
    ] = None,
    slot: Annotated[
        str | None,
        typer.Option(
            envvar="DRIFTLOG_SLOT",
            help="Name of this worker among all that merge the app; by default one that its data folder keeps.",
        ),
    ] = None,
    space: Annotated[list[str] | None, typer.Option(help="Merge only this space; may be repeated.")] = None,
    wait: Annotated[
        str | None, typer.Option(envvar="DRIFTLOG_WAIT", help="How long to wait for the broker at start: 30s.")
    ] = None,
    session_timeout: Annotated[
        float | None,
        typer.Option(
            envvar="DRIFTLOG_SESSION_TIMEOUT", help="Seconds until a silent worker is replaced; 10 by default."
        ),
    ] = None,
    window_ms: Annotated[
        float | None,
        typer.Option(
            envvar="DRIFTLOG_WINDOW_MS", help="How long changes gather before they are published; 2 by default."
        ),
    ] = None,
    standby: Annotated[
        bool | None,
        typer.Option(
            "--standby/--no-standby",
            envvar="DRIFTLOG_STANDBY",
            help="Keep the stores of all partitions up to date, so that others' are taken over quickly: more disk and reading; off by default.",
        ),
    ] = None,
    metrics_address: Annotated[
        str | None,
        typer.Option(
            envvar="DRIFTLOG_METRICS_ADDRESS",
            help="HOST:PORT, or PORT on loopback, of /metrics, /healthz and /readyz; further processes take the next ports.",
        ),
    ] = None,
    cloud_identity: Annotated[
        Path | None,
        typer.Option(
            envvar="DRIFTLOG_CLOUD_IDENTITY",
            help="Identity by which partitions forget, deadlines end conflicts and reactions act (`driftlog devices enrol-cloud`);"
            " without one neither of the first two happens, and an app with reactions does not start.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option(envvar="DRIFTLOG_LOG_LEVEL", help="What is said; info by default.")
    ] = None,
    supervise: Annotated[
        bool, typer.Option(help="Start workers as child processes and start them again; off: be the one worker.")
    ] = True,
) -> None:
    """Merge what devices send, until SIGTERM.

    Example: driftlog worker --app shop:app --bootstrap 127.0.0.1:9092 --workers auto

    Exit codes: 0 stopped as told, 1 a person has to mend something, 2 wrong usage, 75 nobody answered in --wait (see docs/exit_codes.md).
    """
    needs("streams", "`driftlog worker`")
    try:
        settings = WorkerSettings.load(
            config,
            app=app,
            bootstrap=bootstrap,
            registry=registry,
            data_dir=data_dir,
            workers=workers,
            slot=slot,
            spaces=tuple(space) if space else None,
            wait=wait,
            session_timeout=session_timeout,
            window_ms=window_ms,
            standby=standby,
            metrics_address=metrics_address,
            cloud_identity=cloud_identity,
            log_level=log_level and log_level.value,
        )
    except BadSetting as error:
        raise typer.BadParameter(f"{error}; {error.remedy}") from error
    contract = load_contract(app)
    chosen = chosen_spaces(contract, settings.spaces)
    _require_cloud_identity(settings, reacting=any(one.reactions for one in chosen))
    counts = processes(settings.workers, {one.name: one.partitions for one in chosen}, usable_cores())
    if not supervise and (len(chosen) > 1 or settings.workers != 1):
        fail("--no-supervise runs one worker of one space", "name it with --space, and leave --workers at 1")
    _require_ports(settings, sum(counts.values()))
    with _outage_told():
        there = check_topics(chosen, settings.kafka, settings.wait)
    if there != {one.name: one.partitions for one in chosen}:  # some have moved to another count
        counts = processes(settings.workers, there, usable_cores())
        _require_ports(settings, sum(counts.values()))
    settings = settings.model_copy(update={"slot": settings.slot or worker_id(settings.data_dir)})
    with SlotHold(settings.data_dir, settings.slot):
        with _outage_told():
            check_schemas(chosen, settings)
        if not supervise:
            work(settings, chosen[0].name, settings.slot)
            return
        configure_logs(settings.log_level, slot=settings.slot)
        sys.exit(Supervisor(plans(settings, counts)).run())


@contextmanager
def _outage_told() -> Iterator[None]:
    """Whoever starts this again must be able to tell that nobody answered from a setting that is wrong."""
    try:
        yield
    except (BrokerUnreachable, RegistryUnreachable) as error:
        fail(str(error), error.remedy, Exit.OUTAGE)


def _require_cloud_identity(settings: WorkerSettings, *, reacting: bool) -> None:
    """A wrong file is told before anything is started, and a missing one where it is needed: a worker's child would die of it again and again."""
    if settings.cloud_identity is None and not reacting:
        return
    try:
        cloud_identity_of(settings.cloud_identity, reacting=reacting)
    except (IdentityProblem, SetupProblem) as error:
        fail(f"--cloud-identity: {error}", error.remedy)


def _require_ports(settings: WorkerSettings, processes: int) -> None:
    """Each process has a metrics port of its own; one that is taken is told before anything is started."""
    if settings.metrics_address is None:
        return
    host, first = settings.metrics_address
    for port in range(first, first + processes):
        try:
            with socket.create_server((host, port)):
                pass
        except (OSError, OverflowError) as error:
            fail(f"metrics address {host}:{port} cannot be listened on: {error}", "choose another --metrics-address")
