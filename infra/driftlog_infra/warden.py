"""A small process that ends a server when the program that started it is gone.

A program killed by SIGKILL cannot clean up, and its server would run for ever. Linux can send a child a signal when its parent
dies, but that means the parent *thread*: a server started from a thread pool would die with the pool. So a
warden waits beside the server instead. Its stdin is a pipe from the program: first a line with the server's process id,
later `keep` if the program stopped the server itself. The server's process says its id, by a line of shell before it becomes the
server: whatever kills the program, and whenever, no server runs unwatched. The pipe's end says that the program is
gone, unless the server or others hold the pipe open too; hence a second sign: the warden's own parent changes.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from driftlog_infra.process import is_alive, start_time

_LOOK_SECONDS = 1.0


class Warden:
    """The program's end of the pipe. `remove` is a folder that must not outlive an orphaned server."""

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
        """The file descriptor that the server's process must inherit."""
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def watched(self, command: Sequence[str]) -> list[str]:
        """The command that names itself to the warden and then becomes `command`."""
        return ["/bin/sh", "-c", 'trap "" PIPE; echo "$$" > "/dev/fd/$0"; exec "$@"', str(self.pipe), *command]

    def dismiss(self) -> None:
        """The server is stopped, or was never started."""
        self._say("keep\n")
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(10)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # someone killed the warden; the server runs on unwatched
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def _program_ended(program: int) -> bool:
    """Wait for the program's next word or its end; True if it ended without a word."""
    while os.getppid() == program:
        if select.select([0], [], [], _LOOK_SECONDS)[0]:
            return os.read(0, 64) == b""
    return True


def main(program: int, remove: Path | None) -> None:
    """Wait beside the server that names itself on stdin."""
    said = os.read(0, 64).split()
    if not said or b"keep" in said or not said[0].isdigit():
        return
    pid = int(said[0])
    started = start_time(pid)
    if not _program_ended(program):
        return
    if started is not None and is_alive(pid, started):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if remove is not None:
        shutil.rmtree(remove, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
