"""What a process takes, as Linux counts it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

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
