"""A small process that ends others when the program that started them is gone.

A program killed by SIGKILL cannot clean up, and what it started would run for ever. Linux can send a child a signal when its parent
dies, but that means the parent *thread*: a server started from a thread pool would die with the pool. So a warden waits beside
them instead. Its stdin is a pipe from the program. On it every watched process says its process id, by a line of shell before it
becomes what it shall be: whatever kills the program, and whenever, nothing runs unwatched. `keep` says that the program has ended
them itself.

The program is gone when the warden's own parent changes. Watched processes hold the pipe too, so its end says that all of them
are gone as well; until then the warden goes on listening, for one that was just being started.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from driftlog_infra.process import is_alive, start_time

_LOOK_SECONDS = 0.5
_ORPHANED_SECONDS = 10.0
"""How long to wait for the pipe's end once the program is gone; whoever else holds it must not keep the warden for ever."""


class Warden:
    """The program's end of the pipe. `remove` is a folder that must not outlive the program."""

    def __init__(self, remove: Path | None = None) -> None:
        command = [sys.executable, "-m", "driftlog_infra.warden", str(os.getpid()), *([str(remove)] if remove else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    @property
    def pipe(self) -> int:
        """The file descriptor that a watched process must inherit."""
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def watched(self, command: Sequence[str]) -> list[str]:
        """The command that names itself to the warden and then becomes `command`."""
        return ["/bin/sh", "-c", 'trap "" PIPE; echo "$$" > "/dev/fd/$0"; exec "$@"', str(self.pipe), *command]

    def dismiss(self) -> None:
        """What was watched has ended, or may run on."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # someone killed the warden
            self._process.stdin.write(b"keep\n")
            self._process.stdin.flush()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(10)


def main(program: int, remove: Path | None) -> None:
    """Wait beside the program and those who name themselves on stdin."""
    watched: list[tuple[int, str]] = []
    unread, until = b"", None
    while until is None or time.monotonic() < until:
        if os.getppid() != program:
            until = until or time.monotonic() + _ORPHANED_SECONDS
            _end(watched)
        if not select.select([0], [], [], _LOOK_SECONDS)[0]:
            continue
        said = os.read(0, 4096)
        if not said:
            break
        *lines, unread = (unread + said).split(b"\n")
        if b"keep" in lines:
            return
        for pid in map(int, lines):
            if (started := start_time(pid)) is not None:
                watched.append((pid, started))
    _end(watched)
    if remove is not None:
        shutil.rmtree(remove, ignore_errors=True)


def _end(watched: Sequence[tuple[int, str]]) -> None:
    for pid, started in watched:
        if is_alive(pid, started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
