"""Processor time: of this process for some work, and of other processes, as Linux counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_UTIME = 11
"""Of the fields behind the process's name (proc(5))."""


def took(work: Callable[[], object], times: int) -> list[float]:
    """Microseconds of this process, all its threads, for each of so many pieces of work."""
    begun = time.process_time()
    work()
    return [(time.process_time() - begun) / times * 1e6]


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes have taken so far, in user and in kernel mode, all threads; 0 where there is no /proc."""
    total = 0
    for pid in pids:
        path = Path(f"/proc/{pid}/stat")
        if path.exists():
            total += sum(map(int, path.read_text().rpartition(")")[2].split()[_UTIME : _UTIME + 2]))
    return total / _TICKS
