"""A developer's pair of servers over one data folder: broker and registry, started together, found again, stopped together.

`up` changes nothing unless it can finish: folder and ports are looked at before anything starts, and when one of the two
servers fails the other is stopped again. Where only one of a pair has died, only that one is started, on the port that it had. What is running is read from the folder's claims (see `claim`); there is no
other record that could disagree with it.
"""

from __future__ import annotations

import concurrent.futures as futures
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from driftlog_infra.broker import EmbeddedBroker
from driftlog_infra.claim import Holder, busy, holder, latest_holder
from driftlog_infra.ports import require_free
from driftlog_infra.process import end_process
from driftlog_infra.registry import EmbeddedRegistry
from driftlog_infra.security import Security
from driftlog_infra.server import EmbeddedServer

BROKER_PORT = 9092
REGISTRY_PORT = 8081


def default_folder() -> Path:
    """Where `driftlog broker` keeps its data unless told otherwise."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "driftlog" / "broker"


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
class PairStatus:
    """Both servers; `folder` is None where the data is temporary."""

    folder: Path | None
    broker: ServerStatus
    registry: ServerStatus
    settings: Path | None = None
    """Of secured servers: the file to give to other commands."""


def usual_ports(folder: Path | None) -> tuple[int, int]:
    """The ports of broker and registry where none is asked for: those of a pair that runs, also of its half that has died."""
    usual = (BROKER_PORT, REGISTRY_PORT)
    parts = [folder / "kafka", folder / "registry"] if folder else []
    if not any(holder(part) for part in parts):
        return usual
    found = [latest_holder(part) for part in parts]
    broker, registry = (last.port if last and last.port else port for last, port in zip(found, usual, strict=True))
    return broker, registry


def security_of(folder: Path) -> Security:
    """The secrets of a data folder, made or not."""
    return Security(folder / "security")


def servers(
    folder: Path | None, port: int, registry_port: int | None, *, detached: bool, secure: bool = False
) -> list[EmbeddedServer]:
    """The servers to run; `folder=None` for ephemeral ones, `registry_port=None` for no registry.

    A folder that was secured once stays so: what clients were told to trust must not become a plain listener by a forgotten option.
    """
    broker = EmbeddedBroker(folder and folder / "kafka", port, detached=detached)
    security = security_of(folder or broker.folder)
    if secure or security.exists:
        broker.security = security
    if registry_port is None:
        return [broker]
    registry = EmbeddedRegistry(
        folder and folder / "registry", registry_port, detached=detached, security=broker.security
    )
    return [broker, registry]


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
        with futures.ThreadPoolExecutor(max(1, len(wanted))) as pool:
            for job in [pool.submit(server.start) for server in wanted]:
                job.result()
    except BaseException:  # also when interrupted: nothing may be left running
        close_all(wanted)
        raise


def close_all(running: Sequence[EmbeddedServer]) -> None:
    """Stop servers, the broker last."""
    for server in reversed(running):
        server.close()


def down(folder: Path) -> list[Holder]:
    """End the servers of a folder, whoever started them; returns those that were running.

    Raises:
        FolderBusy: a program is just starting one; it is not ours to end.
        StopFailed: a server did not end.
    """
    ended = []
    for part in ("registry", "kafka"):
        found = holder(folder / part)
        if found is not None:
            if not found.server:
                raise busy(folder / part)
            end_process(found.pid, found.started)
            ended.append(found)
    return ended


def status(folder: Path) -> PairStatus:
    """What runs on a folder, each server asked a real request."""
    security = security_of(folder) if security_of(folder).exists else None
    return PairStatus(
        folder,
        _ask(EmbeddedBroker, folder / "kafka", security),
        _ask(EmbeddedRegistry, folder / "registry", security),
        None if security is None else security.settings_file,
    )


def status_of(running: Sequence[EmbeddedServer], folder: Path | None) -> PairStatus:
    """The same for servers of this process."""
    asked = {type(server): ServerStatus(holder(server.folder), server.answers()) for server in running}
    security = running[0].security
    return PairStatus(
        folder,
        asked[EmbeddedBroker],
        asked.get(EmbeddedRegistry, ServerStatus(None, answers=False)),
        None if security is None else security.settings_file,
    )


def write_settings(found: PairStatus) -> None:
    """Leave the settings file for everything that talks to secured servers."""
    if found.settings is not None and found.broker.address is not None:
        Security(found.settings.parent).write_settings(found.broker.address, found.registry.address)


def _ask(kind: type[EmbeddedServer], folder: Path, security: Security | None) -> ServerStatus:
    found = holder(folder)
    answers = found is not None and found.port != 0 and kind(folder, found.port, security=security).answers()
    return ServerStatus(found, answers)
