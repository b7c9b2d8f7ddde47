"""The tests that need no server and no patience (`make quick`): two processes, each with half of the files, their folders in memory.

A process reads only the files that it runs, where those of `pytest -n 2` each read all of them and tell a third one of each test: a fifth of the computing.
What a test writes is fsynced, as in a device, and a disk is slow at that; memory is not. What the first says is shown as it says it, what the second
has said when both have ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

PROCESSES = 2
ROOT = Path(__file__).parent.parent
PLACES = ("tests/unit", "tests/properties", "tests/fuzz")
CHOICE = (*PLACES, "--hypothesis-profile=quick", "-m", "not broker and not slow", "-q")
MEMORY = Path("/dev/shm")
ROOM_BYTES = 1 << 30
"""That must be free in memory; a folder is gone as soon as its test has passed."""
NO_TESTS = 5
"""How pytest ends where it has found none: the other process may have some."""


def share(files: Iterable[Path], part: int, parts: int) -> set[Path]:
    """Part 1, 2, ... of the files: the longest files are dealt out first, so that the parts are about as long."""
    dealt = sorted(files, key=lambda file: (-file.stat().st_size, file))
    turn = [*range(parts), *reversed(range(parts))]
    return {file for place, file in enumerate(dealt) if turn[place % len(turn)] == part - 1}


@cache
def of_the_share(given: str) -> set[Path]:
    """The quick tests' files that are in such a share as "1/2"."""
    part, parts = map(int, given.split("/"))
    return share((file for place in PLACES for file in (ROOT / place).rglob("test_*.py")), part, parts)


def ended(codes: Sequence[int]) -> int:
    """How the run has ended, where its processes ended so."""
    told = [code for code in codes if code != NO_TESTS]
    return max(told, key=abs) if told else NO_TESTS


def _in_memory() -> dict[str, str]:
    """The environment; pytest's folders are in memory where there is enough."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        return {"PYTEST_DEBUG_TEMPROOT": str(MEMORY), **os.environ}
    return dict(os.environ)


def main(arguments: Sequence[str]) -> int:
    """Run them; the arguments are pytest's."""
    color = "--color=yes" if sys.stdout.isatty() else "--color=no"
    processes = []
    with tempfile.TemporaryFile() as said:
        for part in range(1, PROCESSES + 1):
            command = [sys.executable, "-m", "pytest", *CHOICE, f"--share={part}/{PROCESSES}", color, *arguments]
            out = None if part == 1 else said
            processes.append(subprocess.Popen(command, cwd=ROOT, env=_in_memory(), stdout=out))
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:  # which they were told as well
            codes = [process.wait() for process in processes]
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.flush()
    return ended(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
