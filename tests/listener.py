"""A port of this machine on which a test is the server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
END_SECONDS = 10.0


class Listener:
    """Gives each connection to `take`, one after the other in a thread of its own, until it is closed. A context manager."""

    def __init__(self, take: Callable[[socket.socket], None], port: int = 0) -> None:
        self._take = take
        self._listener = socket.create_server((HOST, port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def _run(self) -> None:
        while True:
            try:
                came, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._take(came)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(END_SECONDS)


class DeadPort(Listener):
    """Closes each connection, as a proxy before a dead broker does, and counts them."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(self._shut, port)
        self.connections = 0

    def _shut(self, came: socket.socket) -> None:
        self.connections += 1
        came.close()
