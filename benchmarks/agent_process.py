"""`driftlog edge run` as a user starts it: what the process takes until it serves, and once it does.

It is offline: what it takes must not depend on a broker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processor_time import cpu_seconds

PROC = Path("/proc")
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01
SETTLE_SECONDS = 1.0
"""Between serving and looking at the memory."""
NOWHERE = "127.0.0.1:1"
BARE = ["-c", "import asyncio, sys; print(flush=True); sys.stdin.read()"]
"""An interpreter with asyncio and nothing else, which says when it is there."""


class Taken(NamedTuple):
    """By one process."""

    seconds: float
    """Processor time until it serves."""
    rss: float
    """MiB, a moment later."""
    own: float
    """MiB of that which no file has: what memory must be there for."""


def edge_run(replica: Path, identity: Path, scope: str) -> list[str]:
    """The arguments of an interpreter that runs an agent of `tests.load.app` on a folder."""
    settings = {
        "app": "tests.load.app:app",
        "data-dir": replica,
        "identity": identity,
        "scope": scope,
        "bootstrap": NOWHERE,
        "http-port": 0,
    }
    return ["-m", "driftlog", "edge", "run", *(f"--{name}={value}" for name, value in settings.items())]


def taken(arguments: Sequence[str], cache: Path, environment: Mapping[str, str] | None = None) -> Taken:
    """Start it, look, and end it. `cache` is where agents note that they serve; nobody else may use it."""
    notes = cache / "driftlog" / "agents"
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {}), "XDG_CACHE_HOME": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        if arguments is BARE:
            assert process.stdout is not None
            process.stdout.readline()
        else:
            _until_noted(notes, process)
        worked = cpu_seconds([process.pid])
        time.sleep(SETTLE_SECONDS)
        return Taken(worked, resident(process.pid), resident(process.pid, "RssAnon"))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def resident(process: int | str = "self", what: str = "VmRSS") -> float:
    """MiB of a process now; `what` is a line of its status (proc(5))."""
    lines = (PROC / f"{process}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


def _until_noted(notes: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (notes.is_dir() and any(notes.iterdir())):  # it is there while the agent serves
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the agent does not serve")
        time.sleep(LOOK_SECONDS)
