"""Where the API listens: a port, or a unix socket that only its owner may open.

A socket's file outlives who listened on it. So whoever starts looks whether somebody listens there, and whoever ends removes it only if it still is
its own: another agent may have taken the place of one that was ending. Both happen under a lock beside the socket.

`TCP_NODELAY` is set by asyncio only for sockets that name their protocol; without it every answer waits for the acknowledgement of the
one before.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api.access import LOOPBACK
from driftlog_schemas.errors import BadSetting

BACKLOG = 128
UNREAD_BYTES = 128 << 10
"""What the system keeps for who asked and does not read; it takes twice that for its own use. Without a bound it is megabytes on loopback, for each
of those who listen, and an agent may have hundreds."""
PROBE_SECONDS = 1.0
LOCK_SECONDS = 5.0
LOOK_SECONDS = 0.02


Mark = tuple[int, int, int]
"""What tells a socket's file from every other that may be there later: device, inode, and when it was made."""


class PortTaken(EdgeError):
    """Something else listens there."""


def listen(config: EdgeConfig) -> socket.socket:
    """A listening socket: a second agent must be told now, not when the server starts. Raises `PortTaken`, `BadSetting`."""
    return _on_path(config.http_socket) if config.http_socket is not None else _on_port(config)


def _on_port(config: EdgeConfig) -> socket.socket:
    host, port = config.http_host, config.http_port
    if host not in LOOPBACK and config.http_token_file is None:
        raise BadSetting(
            f"setting http_host: {host} can be reached from other machines, and no token was made for that",
            "write a long random token into a file (mode 0600) and give it as http_token_file, or listen on 127.0.0.1",
        )
    return bound(host, port, "choose another port with --http-port")


def bound(host: str, port: int, remedy: str) -> socket.socket:
    """A listening socket on a port. Raises `PortTaken`, which says the remedy."""
    listener: socket.socket | None = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)  # its connections inherit it
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise PortTaken(f"{host}:{port} cannot be listened on: {error.strerror}", remedy) from error
    listener.listen(BACKLOG)
    return listener


def mark_of(path: Path) -> Mark | None:
    """Of the file that is there now."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def leave(path: Path, mark: Mark | None) -> None:
    """Remove the socket's file that had this mark; another one stays. If that cannot be done now, the next start does it."""
    with suppress(OSError), _alone(path):
        if mark is not None and mark_of(path) == mark:
            path.unlink(missing_ok=True)


def _on_path(path: Path) -> socket.socket:
    try:
        with _alone(path):
            return _bound(path)
    except OSError as error:
        raise PortTaken(f"{path} cannot be listened on: {error}", "give another http_socket") from error


def _bound(path: Path) -> socket.socket:
    _make_way(path)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # the socket is born with mode 0600; nobody gets in between
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else looks at the place, takes it or leaves it meanwhile. Raises `OSError` when somebody keeps it to himself."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path.with_name(f".{path.name}.lock"), flags, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while not _locked(lock):
            if time.monotonic() > end:
                raise OSError(f"the lock of {path} is held by somebody")
            time.sleep(LOOK_SECONDS)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_way(path: Path) -> None:
    """Remove what a dead agent left; never a file that is something else, never a socket on which somebody listens."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise PortTaken(f"{path} is there and is no socket", "give another http_socket, or remove the file")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise PortTaken(f"{path} cannot be looked at: {error}", "give another http_socket") from error
    raise PortTaken(f"somebody listens on {path}", "stop that agent, or give another http_socket")
