"""`driftlog project`: the read model of a space as PostgreSQL tables, exactly once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from driftlog.cli.drawing import emit, facts
from driftlog.cli.extras import needs
from driftlog.cli.operator import trusted_root
from driftlog.cli.terminal import DEFAULT_CACHE, AppOption, Bootstrap, Config, Json, Registry, told
from driftlog_schemas.loading import load_contract
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_streams.process.worker import check_topics
from driftlog_streams.projections.projector import Done
from driftlog_streams.projections.running import Projection
from driftlog_streams.projections.settings import ProjectorSettings
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.telling.health import serve
from driftlog_streams.telling.logs import configure_logs

app = typer.Typer(rich_markup_mode=None)


@app.command()
@told
def project(
    app: AppOption,
    postgres: Annotated[
        str | None,
        typer.Option(
            help="postgresql://USER@HOST:PORT/DATABASE, without a password: that stands in a file that the table postgres of --config names, or in DRIFTLOG_POSTGRES__PASSWORD."
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    config: Config = None,
    cache: Annotated[
        Path, typer.Option("--schema-cache", envvar="DRIFTLOG_SCHEMA_CACHE", help="Where known schemas are kept.")
    ] = DEFAULT_CACHE,
    space: Annotated[str | None, typer.Option(help="Which space of the app, where it has several.")] = None,
    schema: Annotated[
        str | None, typer.Option(help="PostgreSQL schema of the tables; by default called as the space.")
    ] = None,
    partition: Annotated[
        list[int] | None,
        typer.Option(help="Only this partition; may be repeated. By default all that nobody else writes."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when everything is there that the topic has now.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build the tables anew beside those that readers have, swap them, and end."),
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            envvar="DRIFTLOG_WAIT",
            help="How long to wait for the broker at start, and with --once or --rebuild for whatever is away: 30s.",
        ),
    ] = None,
    metrics_address: Annotated[
        str | None,
        typer.Option(
            envvar="DRIFTLOG_METRICS_ADDRESS",
            help="HOST:PORT, or PORT on loopback, of /metrics, /healthz and /readyz.",
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(envvar="DRIFTLOG_LOG_LEVEL", help="debug, info, warning or error; info by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Keep a table for each collection of a space in PostgreSQL, until SIGTERM. A second process stands by.

    Example: driftlog project --app shop:app --postgres postgresql://shop@127.0.0.1:5432/shop
    """
    needs("postgres", "`driftlog project`")
    if once and rebuild:
        raise typer.BadParameter("--rebuild ends by itself; leave out one of --once and --rebuild")
    settings = ProjectorSettings.load(
        config,
        app=app,
        bootstrap=bootstrap,
        registry=registry,
        space=space,
        into_schema=schema,
        partitions=tuple(partition) if partition else None,
        schema_cache=cache,
        wait=wait,
        metrics_address=metrics_address,
        log_level=log_level,
        **({} if postgres is None else {"postgres": {"url": postgres}}),
    )
    contract = load_contract(app)
    codecs = RecordCodecs(CachedRegistry(settings.registry, settings.schema_cache))
    registered = DeviceView(settings.kafka, codecs, trusted_root(settings))
    declared = Projection(
        settings.model_copy(update={"partitions": ()}), contract
    )  # how many there are now the registry says
    configure_logs(settings.log_level, space=declared.space.name)
    check_topics([declared.space], settings.kafka, settings.wait)
    registered.start()
    projection = Projection(settings, contract, lambda space: registered.generations(space).read, registered.moved)
    if settings.metrics_address is not None:
        serve(projection.health, projection.metrics.registry, settings.metrics_address)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run = projection.rebuild if rebuild else projection.to_end if once else projection.follow
    data = _data(projection, run(stop))
    emit(data, as_json=json, table=lambda: facts(f"{projection.space.name} in PostgreSQL", data))


def _data(projection: Projection, done: Done) -> dict[str, Any]:
    return {
        "space": projection.space.name,
        "schema": projection.schema,
        "records": done.records,
        "rows": done.rows,
        "commits": done.commits,
        "positions": {str(number): at for number, at in sorted(done.positions.items())},
    }
