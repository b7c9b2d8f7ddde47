"""What a process takes, as Linux counts it, and a port that answers nobody."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME = 11
"""Of the fields behind the process's name (proc(5)): user and kernel mode, then both of the children that have ended."""


@dataclass(frozen=True, slots=True)
class Taken:
    """By one process up to a moment."""

    at: float
    """Seconds of a clock that only goes on."""
    cpu: float
    """Processor seconds, with those of children that have ended."""
    threads: int
    mib: float
    """Resident memory."""


def taken(pid: int) -> Taken:
    """Raises FileNotFoundError where the process is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Taken(
        time.monotonic(),
        sum(map(int, fields[_UTIME : _UTIME + 4])) / _TICKS,
        int(said["Threads"]),
        int(said["VmRSS"].split()[0]) / 1024,
    )


class DeadPort:
    """Takes connections and closes them, as a proxy before a dead broker does, and counts them."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._thread = threading.Thread(target=self._accept, name="dead-port", daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                came, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            came.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
