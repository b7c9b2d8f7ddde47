"""A TCP link between an agent and its broker that is cut and mended at will, or at a moment of a batch's way, and counts who comes.

A broker names itself in its answers, and a client goes by that, around whatever stands between. So in what the broker says its own address is replaced by the
link's, which is as long: host as it is, another port.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, Self

_LENGTH = struct.Struct(">i")
_PORT = struct.Struct(">i")
_REQUEST = struct.Struct(">hhi")
"""What a request begins with: which, of what version, and the number that its answer begins with, too."""
_PRODUCE = 0


class Moment(Enum):
    """When a link is cut on a batch's way."""

    IN_THE_MIDDLE = "in the middle"
    """Half of the request that carries it is through."""
    BEFORE_ITS_ACK = "before its ack"
    """The broker has it and has said so; whoever sent it does not hear that."""


@dataclass(frozen=True, slots=True)
class _Trap:
    topic: bytes
    moment: Moment
    sprung: threading.Event = field(default_factory=threading.Event)

    def takes(self, kind: int, request: bytes) -> bool:
        return kind == _PRODUCE and self.topic in request


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
        self._trap: _Trap | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen()

    @property
    def open(self) -> bool:
        """Is anybody connected?"""
        with self._lock:
            return bool(self._open)

    def cut_at(self, moment: Moment, topic: str) -> threading.Event:
        """Cut by itself when the next batch for the topic is so far; the event tells when that was."""
        self._trap = trap = _Trap(topic.encode(), moment)
        return trap.sprung

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
            awaited: set[int] = set()
            for carry, source, target in ((self._requests, near, far), (self._answers, far, near)):
                threading.Thread(target=self._carry, args=(carry, source, target, awaited), daemon=True).start()

    def _carry(
        self,
        carry: Callable[[socket.socket, socket.socket, set[int]], None],
        source: socket.socket,
        target: socket.socket,
        awaited: set[int],
    ) -> None:
        with suppress(OSError):
            carry(source, target, awaited)
        with self._lock:
            self._open -= {source, target}
        _close(source)
        _close(target)

    def _requests(self, source: socket.socket, target: socket.socket, awaited: set[int]) -> None:
        """`awaited` gets the numbers of those whose answer is not to come through."""
        with source.makefile("rb") as requests:
            while (request := _framed(requests)) is not None:
                trap, (kind, _, number) = self._trap, _REQUEST.unpack_from(request)
                head = _LENGTH.pack(len(request))
                if trap is None or not trap.takes(kind, request):
                    target.sendall(head + request)
                elif trap.moment is Moment.BEFORE_ITS_ACK:
                    awaited.add(number)
                    target.sendall(head + request)
                else:
                    target.sendall(head + request[: len(request) // 2])
                    self._spring(trap)

    def _answers(self, source: socket.socket, target: socket.socket, awaited: set[int]) -> None:
        with source.makefile("rb") as answers:
            while (answer := _framed(answers)) is not None:
                trap = self._trap
                if trap is not None and _LENGTH.unpack_from(answer)[0] in awaited:
                    self._spring(trap)
                else:
                    target.sendall(_LENGTH.pack(len(answer)) + answer.replace(self._named, self._instead))

    def _spring(self, trap: _Trap) -> None:
        self._trap = None
        self.cut()
        trap.sprung.set()


def _framed(stream: BinaryIO) -> bytes | None:
    """The next request or answer; None where the stream ends."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    found = stream.read(length)
    return found if len(found) == length else None


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
