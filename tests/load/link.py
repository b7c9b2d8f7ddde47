"""A TCP link between an agent and its broker that is cut and mended at will, and counts who comes.

A broker names itself in its answers, and a client goes by that, around whatever stands between. So in what the broker says its own address is replaced by the
link's, which is as long: host as it is, another port.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_LENGTH = struct.Struct(">i")
_PORT = struct.Struct(">i")


class Link:
    """One link. Cut, nothing listens and nothing that was open stays so."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._broker = (host, int(port))
        self._listener = socket.create_server((host, 0))
        self._own = self._listener.getsockname()[1]
        self._named, self._instead = (host.encode() + _PORT.pack(one) for one in (int(port), self._own))
        self.bootstrap = f"{host}:{self._own}"
        self.connections = 0
        """How many came since the start."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen()

    def cut(self) -> None:
        """Nothing gets through any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            cut, self._open = self._open, set()
        for end in cut:
            _close(end)

    def mend(self) -> None:
        """It lets through again."""
        self._listener = socket.create_server((self._broker[0], self._own))
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                self.connections += 1
                far = socket.create_connection(self._broker, timeout=10)
            except OSError:
                return
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for carry, source, target in ((self._bytes, near, far), (self._answers, far, near)):
                threading.Thread(target=self._carry, args=(carry, source, target), daemon=True).start()

    def _carry(
        self, carry: Callable[[socket.socket, socket.socket], None], source: socket.socket, target: socket.socket
    ) -> None:
        with suppress(OSError):
            carry(source, target)
        with self._lock:
            self._open -= {source, target}
        _close(source)
        _close(target)

    def _bytes(self, source: socket.socket, target: socket.socket) -> None:
        while some := source.recv(1 << 16):
            target.sendall(some)

    def _answers(self, source: socket.socket, target: socket.socket) -> None:
        with source.makefile("rb") as answers:
            while len(head := answers.read(_LENGTH.size)) == _LENGTH.size:
                answer = answers.read(_LENGTH.unpack(head)[0])
                target.sendall(head + answer.replace(self._named, self._instead))


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
