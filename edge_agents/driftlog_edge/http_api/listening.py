"""Where the API listens: a port, or a unix socket that only its owner may open.

`TCP_NODELAY` is set by asyncio only for sockets that name their protocol; without it every answer waits for the acknowledgement of the
one before.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api.access import LOOPBACK
from driftlog_schemas.errors import BadSetting

BACKLOG = 128
PROBE_SECONDS = 1.0


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
    listener: socket.socket | None = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise PortTaken(
            f"{host}:{port} cannot be listened on: {error.strerror}", "choose another port with --http-port"
        ) from error
    listener.listen(BACKLOG)
    return listener


def _on_path(path: Path) -> socket.socket:
    _make_way(path)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # the socket is born with mode 0600; nobody gets in between
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise PortTaken(f"{path} cannot be listened on: {error}", "give another http_socket") from error
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


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
