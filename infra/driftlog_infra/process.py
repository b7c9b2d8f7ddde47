"""Processes by identity: a pid alone proves nothing, because pids are used again.

A process is named by its pid *and* the time it was started, as the system tells it. Whoever stops a process that is not
its own child checks both, so a recycled pid is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from driftlog_infra.errors import StopFailed

STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05


def start_time(pid: int) -> str | None:
    """When the system started a live process, in a form only good for comparing; None if there is none (or a zombie)."""
    if not Path("/proc/self/stat").exists():
        return _start_time_from_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _start_time_from_ps(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    ).stdout.strip()
    return None if not shown or shown.startswith("Z") else shown.partition(" ")[2].strip()


def is_alive(pid: int, started: str) -> bool:
    """Whether exactly this process still lives."""
    return start_time(pid) == started


def end_process(pid: int, started: str, seconds: float = STOP_SECONDS) -> None:
    """End a process that is not our child: ask, wait, then insist. Returns when it is gone.

    Raises:
        StopFailed: it lives on after SIGKILL (it hangs in the kernel), or it is another user's.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_alive(pid, started):
            return
        try:
            with suppress(ProcessLookupError):  # it ended between the look and the signal
                os.kill(pid, number)
        except PermissionError as error:
            raise StopFailed(f"process {pid} belongs to another user", f"ask its owner to stop {pid}") from error
        if _gone_within(pid, started, seconds):
            return
    raise StopFailed(f"process {pid} did not end within {2 * seconds:.0f} s", f"look at it with `ps -p {pid}`")


def _gone_within(pid: int, started: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_alive(pid, started):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True
