"""Loopback ports: choosing free ones, and refusing taken ones before anything is started.

Free ports are drawn below the range that the kernel hands out to outgoing connections. A broker that is stopped for a
while and comes back must find its port unused: from inside that range, any client that keeps trying to reconnect may be
given the very port as its own source port, and the server could not bind it again.
"""

from __future__ import annotations

import errno
import random
import socket

from driftlog_infra.errors import PortTaken

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 15_000, 31_999
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could bind the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def listens(port: int) -> bool:
    """Whether somebody takes connections on the loopback port now."""
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0


def free_port() -> int:
    """A port that was free a moment ago. Whoever binds it must be ready to find it taken."""
    for port in random.sample(range(_LOWEST, _HIGHEST + 1), _TRIES):
        if is_free(port):
            return port
    raise PortTaken(f"no free port among {_TRIES} tried between {_LOWEST} and {_HIGHEST}", "pass one with --port")


def require_free(port: int, what: str, option: str) -> None:
    """Raise `PortTaken` unless a server could bind the loopback port."""
    if not is_free(port):
        raise taken(port, what, option)


def taken(port: int, what: str, option: str) -> PortTaken:
    """The error for a port that something else holds."""
    return PortTaken(
        f"port {port} for the {what} is taken", f"stop what listens there, or choose another with {option}"
    )
