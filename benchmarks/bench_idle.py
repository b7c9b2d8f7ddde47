"""What `driftlog edge run` takes before it has anything to do: memory, and processor time until it serves.

An agent runs for months on a small device, and a restart keeps an application waiting. Both are mostly a matter of what is imported, so
the baseline is an interpreter that has imported asyncio and nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.case import Case, Ground, Samples, Sides, Skipped, at_most
from benchmarks.processor_time import cpu_seconds
from driftlog_schemas.signing import Identity

PROC = Path("/proc")
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01
SETTLE_SECONDS = 1.0
"""Between serving and looking."""
NOWHERE = "127.0.0.1:1"
BARE = ["-c", "import asyncio, sys; print(flush=True); sys.stdin.read()"]


def _resident(process: int) -> float:
    """MiB"""
    (line,) = (line for line in (PROC / f"{process}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _agent(folder: Path) -> list[str]:
    settings = {
        "app": "tests.load.app:app",
        "data-dir": folder / "replica",
        "identity": folder / "identity.json",
        "scope": "place-1",
        "bootstrap": NOWHERE,
        "http-port": 0,
    }
    return ["-m", "driftlog", "edge", "run", *(f"--{name}={value}" for name, value in settings.items())]


def _look(arguments: Sequence[str], cache: Path, memory: bool) -> Samples:
    """What a process takes once it serves, or once it has said that it is there."""
    notes = cache / "driftlog" / "agents"
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
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
        if not memory:
            return [worked]
        time.sleep(SETTLE_SECONDS)
        return [_resident(process.pid)]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def _until_noted(notes: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (notes.is_dir() and any(notes.iterdir())):  # it is there while the agent serves
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the agent does not serve")
        time.sleep(LOOK_SECONDS)


@contextmanager
def _idle(memory: bool, ground: Ground) -> Iterator[Sides]:
    if not PROC.exists():
        raise Skipped("memory and processor time are read from /proc")
    Identity.create("store-1").save(ground.folder / "identity.json")
    cache, agent = ground.folder / "cache", _agent(ground.folder)
    yield Sides(partial(_look, agent, cache, memory), partial(_look, BARE, cache, memory))


CASES: Sequence[Case] = [
    Case(
        "rss", "MiB", partial(_idle, True), "an interpreter with asyncio", at_most(64, "MiB"), rounds=3, warm_up=False
    ),
    Case("start", "s", partial(_idle, False), "an interpreter with asyncio", None, rounds=5, warm_up=False),
]
