"""A developer's servers over one data folder: a broker of one or more nodes, a registry, and a PostgreSQL if asked for; started together, found again, stopped together.

`up` changes nothing unless it can finish: folder and ports are looked at before anything starts, and when one of the
servers fails the others are stopped again. Where only one of them has died, only that one is started, on the port that it had. What is running is read from the folder's claims (see `claim`); there is no
other record that could disagree with it.
"""

from __future__ import annotations

import concurrent.futures as futures
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from driftlog_infra.broker import BROKER_HEAP, NODE_HEAP, EmbeddedBroker
from driftlog_infra.claim import Holder, busy, holder, latest_holder
from driftlog_infra.errors import StartFailed
from driftlog_infra.membership import drawn, members, node_folders
from driftlog_infra.ports import require_free
from driftlog_infra.postgres import EmbeddedPostgres
from driftlog_infra.process import end_process
from driftlog_infra.registry import EmbeddedRegistry
from driftlog_infra.security import Security
from driftlog_infra.server import EmbeddedServer
from driftlog_schemas.home import home

T = TypeVar("T")

BROKER_PORT = 9092
REGISTRY_PORT = 8081
POSTGRES_PORT = 5432
_MEETING_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.1


def default_folder() -> Path:
    """Where `driftlog broker` keeps its data unless told otherwise."""
    return Path(os.environ.get("XDG_DATA_HOME") or home() / ".local" / "share") / "driftlog" / "broker"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as its folder tells: nobody, a process that answers, or one that does not."""

    holder: Holder | None
    answers: bool

    @property
    def running(self) -> bool:
        return self.holder is not None and self.holder.server

    @property
    def address(self) -> str | None:
        return self.holder.address if self.holder and self.holder.address else None


@dataclass(frozen=True, slots=True)
class Found:
    """All servers; `folder` is None where the data is temporary."""

    folder: Path | None
    nodes: Sequence[ServerStatus]
    """The broker's, one or more."""
    registry: ServerStatus
    postgres: ServerStatus | None = None
    """None where there is none and never was."""
    password_file: Path | None = None
    """Of PostgreSQL's user."""
    settings: Path | None = None
    """Of secured servers: the file to give to other commands."""

    @property
    def running(self) -> bool:
        """Does any node of the broker?"""
        return any(node.running for node in self.nodes)

    @property
    def bootstrap(self) -> str | None:
        """What clients are given: the addresses of all nodes that run."""
        return ",".join(node.address for node in self.nodes if node.address) or None


@dataclass(frozen=True, slots=True)
class Ports:
    """What each server is to listen at; 0 for any that is free."""

    nodes: Sequence[int]
    registry: int


def ports(parts: Sequence[Path], nodes: int, broker: int | None, registry: int | None) -> Ports:
    """The ports asked for; where none is, those of servers that run, also of what has died among them, else the usual ones.

    The nodes of a cluster take as many in a row as they are. `parts` are the folders of nodes and registry, none of ephemeral servers.
    """
    last = [0] * (nodes + 1)
    if any(map(holder, parts)):
        last = [found.port if (found := latest_holder(part)) else 0 for part in parts]
    first = BROKER_PORT if broker is None else broker
    row = [first + number if first else 0 for number in range(nodes)]
    if broker is None:
        row = [port or usual for port, usual in zip(last, row, strict=False)]
    return Ports(row, (last[-1] or REGISTRY_PORT) if registry is None else registry)


def security_of(folder: Path) -> Security:
    """The secrets of a data folder, made or not."""
    return Security(folder / "security")


def servers(
    folder: Path | None,
    port: int | None,
    registry_port: int | None,
    *,
    detached: bool,
    secure: bool = False,
    nodes: int | None = None,
    registry: bool = True,
    postgres: bool = False,
    postgres_port: int | None = None,
) -> list[EmbeddedServer]:
    """The servers to run; `folder=None` for ephemeral ones, a port of None for the usual one, `nodes=None` for as many as the folder has.

    A folder that was secured once stays so: what clients were told to trust must not become a plain listener by a forgotten option.

    Raises:
        FolderUnusable: the folder holds a cluster of another size.
    """
    made = members(folder, nodes) if folder else drawn(nodes or 1)
    parts = [*(member.folder(folder) for member in made), folder / "registry"] if folder else []
    at = ports(parts, len(made), port, registry_port)
    heap = NODE_HEAP if len(made) > 1 else BROKER_HEAP
    brokers = [
        EmbeddedBroker(folder and member.folder(folder), at_port, heap=heap, detached=detached, member=member)
        for member, at_port in zip(made, at.nodes, strict=True)
    ]
    security = security_of(folder or brokers[0].folder)
    if secure or security.exists:
        for broker in brokers:
            broker.security = security
    found: list[EmbeddedServer] = [*brokers]
    if registry:
        part = folder and folder / "registry"
        found.append(EmbeddedRegistry(part, at.registry, detached=detached, security=brokers[0].security))
    if postgres:
        part = folder and folder / "postgres"
        at_port = _postgres_port(part, postgres_port)
        found.append(EmbeddedPostgres(part, at_port, detached=detached, security=brokers[0].security))
    return found


def _postgres_port(part: Path | None, chosen: int | None) -> int:
    """The one asked for, else that of the one which runs, or has run last there, else the usual one."""
    if chosen is not None:
        return chosen
    last = part and latest_holder(part)
    return (last.port if last else 0) or POSTGRES_PORT


def lacking(wanted: Sequence[EmbeddedServer]) -> list[EmbeddedServer]:
    """Those that do not run just as they are wanted."""
    return [server for server in wanted if not _runs_as_wanted(server)]


def _runs_as_wanted(server: EmbeddedServer) -> bool:
    found = _ask(type(server), server.folder, server.security)
    return found.answers and found.holder is not None and server.port in (0, found.holder.port)


def start_all(wanted: Sequence[EmbeddedServer], *, quiet: bool) -> None:
    """Start servers side by side, all or none. Raises what `EmbeddedServer.start` raises."""
    for server in wanted:
        if holder(server.folder):
            raise busy(server.folder)
        if server.port:
            require_free(server.port, server.what, server.port_option)
    for server in wanted:
        server.fetch(quiet=quiet)
    try:
        _each(EmbeddedServer.start, wanted)
        _await_each_other([server for server in wanted if isinstance(server, EmbeddedBroker)])
    except BaseException:  # also when interrupted: nothing may be left running
        close_all(wanted)
        raise


def _await_each_other(nodes: Sequence[EmbeddedBroker]) -> None:
    """Wait until each knows of all: who asks the cluster how large it is would be told less, and keep fewer copies."""
    end = time.monotonic() + _MEETING_SECONDS
    for node in nodes:
        while (known := node.known_nodes()) < len(nodes):
            if time.monotonic() > end:
                raise StartFailed(f"{node.bootstrap} knows {known} of {len(nodes)} nodes", f"see {node.log}")
            time.sleep(_POLL_SECONDS)


def close_all(running: Sequence[EmbeddedServer]) -> None:
    """Stop servers, the broker last, all its nodes at once."""
    brokers = [server for server in running if isinstance(server, EmbeddedBroker)]
    for server in running:
        if server not in brokers:
            server.close()
    _each(EmbeddedServer.close, brokers)


def _each(step: Callable[[T], object], things: Sequence[T]) -> None:
    """Do it with all, side by side. Raises what the first of them raised, once all are done."""
    with futures.ThreadPoolExecutor(max(1, len(things))) as pool:
        for job in [pool.submit(step, thing) for thing in things]:
            job.result()


def down(folder: Path) -> list[Holder]:
    """End the servers of a folder, whoever started them; returns those that were running.

    Raises:
        FolderBusy: a program is just starting one; it is not ours to end.
        StopFailed: a server did not end.
    """
    ended = _end([folder / "registry", folder / "postgres"])
    return ended + _end(node_folders(folder))


def _end(parts: Sequence[Path]) -> list[Holder]:
    """The same for some of the servers, all at once."""
    found = {part: held for part in parts if (held := holder(part))}
    for part, held in found.items():
        if not held.server:
            raise busy(part)
    _each(lambda held: end_process(held.pid, held.started), [*found.values()])
    return [*found.values()]


def status(folder: Path) -> Found:
    """What runs on a folder, each server asked a real request."""
    security = security_of(folder) if security_of(folder).exists else None
    return Found(
        folder,
        [_ask(EmbeddedBroker, node, security) for node in node_folders(folder)],
        _ask(EmbeddedRegistry, folder / "registry", security),
        *_told_of(folder / "postgres", security),
        None if security is None else security.settings_file,
    )


def _told_of(part: Path, security: Security | None) -> tuple[ServerStatus | None, Path | None]:
    """PostgreSQL and its password."""
    if not part.exists():
        return None, None
    return _ask(EmbeddedPostgres, part, security), EmbeddedPostgres(part).password_file


def status_of(running: Sequence[EmbeddedServer], folder: Path | None) -> Found:
    """The same for servers of this process."""
    nodes, registry = [], ServerStatus(None, answers=False)
    postgres, password_file = None, None
    for server in running:
        asked = ServerStatus(holder(server.folder), server.answers())
        if isinstance(server, EmbeddedBroker):
            nodes.append(asked)
        elif isinstance(server, EmbeddedPostgres):
            postgres, password_file = asked, server.password_file
        else:
            registry = asked
    security = running[0].security
    settings = None if security is None else security.settings_file
    return Found(folder, nodes, registry, postgres, password_file, settings)


def write_settings(found: Found) -> None:
    """Leave the settings file for everything that talks to secured servers."""
    if found.settings is not None and found.bootstrap is not None:
        postgres = {}
        if found.postgres is not None and found.postgres.address is not None:
            postgres = {"url": found.postgres.address, "password_file": str(found.password_file)}
        Security(found.settings.parent).write_settings(found.bootstrap, found.registry.address, postgres)


def _ask(kind: type[EmbeddedServer], folder: Path, security: Security | None) -> ServerStatus:
    found = holder(folder)
    answers = found is not None and found.port != 0 and _answers(kind(folder, found.port, security=security))
    return ServerStatus(found, answers)


def _answers(server: EmbeddedServer) -> bool:
    """Does it, within seconds? One that has just lost another node, or whose machine is busy, lets a single question wait."""
    end = time.monotonic() + _ANSWER_SECONDS
    while not server.answers():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True
