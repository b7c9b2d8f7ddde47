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


async def printed(command: str, seconds: float, most_bytes: int) -> bytes:
    """What it writes to standard output. Raises `ProgramFailed`."""
    words = shlex.split(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise ProgramFailed(f"{words[0]} cannot be run: {error.strerror}", "check its path and mode") from error
    assert process.stdout is not None, "it was asked for"
    try:
        async with asyncio.timeout(seconds):
            given = b""
            while len(given) <= most_bytes and (more := await process.stdout.read(most_bytes)):
                given += more
            if len(given) > most_bytes:
                raise ProgramFailed(f"it gives more than {most_bytes} bytes", "see what it writes to standard output")
            code = await process.wait()
    except TimeoutError as error:
        raise ProgramFailed(f"no answer within {seconds:g} s", "see why it hangs, or give it longer") from error
    finally:
        with suppress(ProcessLookupError):  # what it left behind goes with it
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code != 0:
        raise ProgramFailed(f"it ended with exit code {code}", "see what it wrote to standard error")
    return given
