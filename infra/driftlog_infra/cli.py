"""`driftlog broker`: the embedded Kafka broker and schema registry from the command line.

Results go to stdout (`--json` for programs), progress and errors to stderr. Exit code 0 means done, 1 failed with one line
that says what and how to mend it, 2 wrong usage. Stopping what does not run, and starting again what runs just
so, is done already and not a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from driftlog_infra import artifacts, class_cache, local
from driftlog_infra.errors import InfraError, StartFailed
from driftlog_infra.pins import pinned
from driftlog_infra.postgres import EmbeddedPostgres
from driftlog_infra.server import EmbeddedServer
from driftlog_infra.signals import handled, interruptible, undisturbed

broker_app = typer.Typer(
    name="broker",
    help="The embedded Apache Kafka (KRaft) and schema registry: up, down, status. Loopback only, for one machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="DRIFTLOG_BROKER_DATA", help="Data folder.", show_default="driftlog/broker in the user's data"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Port = Annotated[
    int | None,
    typer.Option(
        envvar="DRIFTLOG_BROKER_PORT",
        min=0,
        max=65535,
        help="Broker port, default 9092; 0 = a free one. Several nodes take as many in a row.",
    ),
]
RegistryPort = Annotated[
    int | None,
    typer.Option(
        envvar="DRIFTLOG_REGISTRY_PORT", min=0, max=65535, help="Registry port, default 8081; 0 = a free one."
    ),
]
PostgresPort = Annotated[
    int | None,
    typer.Option(
        envvar="DRIFTLOG_POSTGRES_PORT", min=0, max=65535, help="PostgreSQL's port, default 5432; 0 = a free one."
    ),
]
_WATCH_SECONDS = 0.5


def _odd(nodes: int | None) -> int | None:
    """A majority goes on; so an even number stands no more than the odd one below it."""
    if nodes is not None and nodes % 2 == 0:
        raise typer.BadParameter(f"{nodes} nodes can lose no more of them than {nodes - 1} can; take an odd number")
    return nodes


Nodes = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=9,
        callback=_odd,
        show_default="as many as the data folder has, else 1",
        help="How many Kafka nodes, each broker and controller; 3 go on when one is killed.",
    ),
]


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn an expected error into one clear line and exit code 1."""
    try:
        yield
    except InfraError as error:
        typer.echo(f"error: {error.line}", err=True)
        raise typer.Exit(1) from error


@broker_app.command(epilog="Example: driftlog broker up --port 19092 --registry-port 18081 --data ./broker-data")
def up(
    data: Data = None,
    port: Port = None,
    registry_port: RegistryPort = None,
    nodes: Nodes = None,
    no_registry: Annotated[bool, typer.Option("--no-registry", help="Start the broker only.")] = False,
    postgres: Annotated[bool, typer.Option("--postgres", help="A PostgreSQL too, for `driftlog project`.")] = False,
    postgres_port: PostgresPort = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep nothing: temporary data, in the foreground, gone at the end.")
    ] = False,
    secure: Annotated[
        bool, typer.Option("--secure", help="TLS, and a user with a password; says which settings file to use.")
    ] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C, then stop.")] = False,
    as_json: Json = False,
) -> None:
    """Start the broker and the registry, and with --postgres a PostgreSQL; return when all answer."""
    if postgres_port is not None and not postgres:
        raise typer.BadParameter("--postgres-port says where a PostgreSQL listens; add --postgres")
    if ephemeral and data is not None:
        raise typer.BadParameter("ephemeral servers have no data folder; leave out one of --data and --ephemeral")
    folder = None if ephemeral else (data or local.default_folder()).absolute()
    detached = not (ephemeral or foreground)
    with _one_line():
        wanted = every = local.servers(
            folder,
            port,
            registry_port,
            detached=detached,
            secure=secure,
            nodes=nodes,
            registry=not no_registry,
            postgres=postgres,
            postgres_port=postgres_port,
        )
        if folder is not None and detached:
            wanted = local.lacking(every)
        with _closed_if_interrupted(wanted):
            local.start_all(wanted, quiet=False)
        found = local.status(folder) if folder is not None and detached else local.status_of(every, folder)
        local.write_settings(found)
        if detached:
            _show(found, as_json)
        else:
            _serve_until_signal(wanted, folder, as_json)


@broker_app.command(epilog="Example: driftlog broker down --data ./broker-data")
def down(data: Data = None, as_json: Json = False) -> None:
    """Stop the servers of a data folder; the data stays."""
    folder = (data or local.default_folder()).absolute()
    with _one_line():
        ended = local.down(folder)
    if as_json:
        typer.echo(json.dumps({"data": str(folder), "stopped": [h.pid for h in ended]}))
    else:
        typer.echo(f"stopped: {', '.join(h.address or f'process {h.pid}' for h in ended)}" if ended else "not running")


@broker_app.command(epilog="Example: driftlog broker status --json")
def status(data: Data = None, as_json: Json = False) -> None:
    """Tell what runs on a data folder. Exit code 1 if a server is there and does not answer."""
    found = local.status((data or local.default_folder()).absolute())
    _show(found, as_json)
    others = {"registry": found.registry} | ({"PostgreSQL": found.postgres} if found.postgres is not None else {})
    for name, server in (*(("broker", node) for node in found.nodes), *others.items()):
        if server.holder is not None and not server.answers:
            typer.echo(
                f"error: the {name} (process {server.holder.pid}) does not answer; "
                f"wait if it is starting, else run `driftlog broker down --data {found.folder}` and start it again",
                err=True,
            )
            raise typer.Exit(1)


@broker_app.command(epilog="Example: driftlog broker fetch --no-registry")
def fetch(no_registry: Annotated[bool, typer.Option("--no-registry", help="Only the broker's files.")] = False) -> None:
    """Download the servers' files into the cache, so that everything else works offline, and learn to start them quickly."""
    wanted = local.servers(None, 0, 0, detached=False, registry=not no_registry)
    with _one_line():
        for server in wanted:
            server.fetch(quiet=False)
        if pinned(EmbeddedPostgres.artifact):  # not for every machine
            artifacts.fetch_unpacked(EmbeddedPostgres.artifact, quiet=False)
    with _closed_if_interrupted(wanted):
        try:
            class_cache.learn(wanted)
        except (InfraError, subprocess.TimeoutExpired) as error:  # as before, only slower
            typer.echo(f"the servers will start more slowly: {error}", err=True)
        finally:
            local.close_all(wanted)
    typer.echo(f"servers are in {artifacts.cache_dir()}")


@contextmanager
def _closed_if_interrupted(servers: Sequence[EmbeddedServer]) -> Iterator[None]:
    """A signal ends the start, wherever it falls, and what was started by then."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        with undisturbed():
            local.close_all(servers)
        raise


def _serve_until_signal(running: Sequence[EmbeddedServer], folder: Path | None, as_json: bool) -> None:
    """Keep servers until a signal asks to stop, or one of them ends by itself."""
    stop = threading.Event()
    with handled(lambda *_: stop.set()):
        try:
            _show(local.status_of(running, folder), as_json)
            while not stop.wait(_WATCH_SECONDS):
                for server in running:
                    if not server.running:
                        fact = f"the {server.what} ended by itself: {server.telling_line()}"
                        raise StartFailed(fact, "start it again")
        finally:
            local.close_all(running)


def _show(found: local.Found, as_json: bool) -> None:
    data = None if found.folder is None else str(found.folder)
    if as_json:
        facts = {
            "running": found.running,
            "bootstrap": found.bootstrap,
            "registry_url": found.registry.address,
            "data": data,
            "settings": None if found.settings is None else str(found.settings),
            "broker": _facts(found.nodes[0]),
            "nodes": [_facts(node) for node in found.nodes],
            "registry": _facts(found.registry),
        }
        if found.postgres is not None:
            facts["postgres"] = {**_facts(found.postgres), "password_file": str(found.password_file)}
        typer.echo(json.dumps(facts))
    else:
        for node in found.nodes:
            typer.echo(f"bootstrap  {_text(node)}")
        typer.echo(f"registry   {_text(found.registry)}")
        if found.postgres is not None:
            typer.echo(f"postgres   {_text(found.postgres)}")
            typer.echo(
                f"password   {found.password_file}  (DRIFTLOG_POSTGRES__PASSWORD, or password_file in a settings file)"
            )
        typer.echo(f"data       {data or 'temporary'}")
        if found.settings is not None:
            typer.echo(f"settings   {found.settings}  (give it to other commands: --config, or DRIFTLOG_CONFIG)")
    sys.stdout.flush()


def _facts(server: local.ServerStatus) -> dict[str, object]:
    pid = server.holder.pid if server.holder else None
    return {"running": server.running, "answers": server.answers, "pid": pid, "address": server.address}


def _text(server: local.ServerStatus) -> str:
    if server.holder is None:
        return "not running"
    return f"{server.address or '-'}  (process {server.holder.pid}{'' if server.answers else ', does not answer'})"


if __name__ == "__main__":
    broker_app()
