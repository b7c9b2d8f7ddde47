"""A program that is asked for something: run without a shell, its output bounded, with a deadline. It is ended with all that it started when it hangs."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from contextlib import suppress

from driftlog_edge.errors import EdgeError


class ProgramFailed(EdgeError):
    """It gave no answer. The fact names it where it could not even be run."""


class _Listener(asyncio.SubprocessProtocol):
    """Keeps what the program prints. `done` is set once it has exited and its output is closed, or as soon as it printed more than `most_bytes`.

    Not asyncio's streams: they pause a pipe that nobody reads, and `Process.wait` then waits for the end of that pipe for ever, although the program
    was killed."""

    def __init__(self, most_bytes: int) -> None:
        self.given = bytearray()
        self.done = asyncio.Event()
        self._most_bytes = most_bytes

    @property
    def too_much(self) -> bool:
        return len(self.given) > self._most_bytes

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self.too_much:
            self.given += data
        if self.too_much:
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set()


async def printed(command: str, seconds: float, most_bytes: int) -> bytes:
    """What it writes to standard output. Raises `ProgramFailed`."""
    words = shlex.split(command)
    try:
        transport, listener = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Listener(most_bytes), *words, stdin=asyncio.subprocess.DEVNULL, stderr=None, start_new_session=True
        )
    except OSError as error:
        raise ProgramFailed(f"{words[0]} cannot be run: {error.strerror}", "check its path and mode") from error
    try:
        async with asyncio.timeout(seconds):
            await listener.done.wait()
        code = transport.get_returncode()
    except TimeoutError as error:
        raise ProgramFailed(f"no answer within {seconds:g} s", "see why it hangs, or give it longer") from error
    finally:
        # What it left behind goes with it; one that runs as another user is nobody's here to end.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        transport.close()
    if listener.too_much:
        raise ProgramFailed(f"it gives more than {most_bytes} bytes", "see what it writes to standard output")
    if code != 0:
        raise ProgramFailed(f"it ended with exit code {code}", "see what it wrote to standard error")
    return bytes(listener.given)
