"""A server process of ours: its pid file, its folder lock, its birth and its end.

A pid alone proves nothing (pids are used again), so the pid file keeps the process's start time too, and only a process
with both is ours to stop. The data folder is held by `flock` of the *server process* (inherited), so the
lock ends with the server, however it ends. An ephemeral server dies with its parent (Linux: PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from driftlog_infra.errors import FolderBusy, PortTaken, StartFailed

STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str | None:
    """The kernel's start time of a live process; None if there is none (or only its zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    except NotADirectoryError:  # pragma: no cover - systems without /proc
        return None
    return None if fields[0] == "Z" else fields[19]


def free_port() -> int:
    """A port that was free a moment ago. Whoever binds it must be ready to find it taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free(port: int, what: str, option: str) -> None:
    """Raise `PortTaken` if something listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(
                f"port {port} for the {what} is taken", f"choose another with {option}, or stop what listens there"
            ) from error


class PidFile:
    """Which process serves a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pid: int, **facts: object) -> None:
        temp = self._path.with_suffix(".tmp")
        temp.write_text(json.dumps({"pid": pid, "started": start_time(pid), **facts}))
        temp.replace(self._path)

    def read(self) -> dict[str, object] | None:
        """The facts of the live process; None (and the stale file is removed) if it is gone."""
        try:
            facts = json.loads(self._path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid, started = facts.get("pid"), facts.get("started")
        if isinstance(pid, int) and started is not None and start_time(pid) == started:
            return dict(facts)
        self._path.unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class FolderLock:
    """An exclusive hold on a data folder, handed on to the server process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(folder / ".driftlog.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.fd)
            raise FolderBusy(
                f"data folder {folder} is held by another process",
                "stop it with `driftlog broker down`, or choose another folder with --data",
            ) from error

    def release(self) -> None:
        with suppress(OSError):
            os.close(self.fd)


def spawn(command: Sequence[str], log: Path, *, lock: FolderLock, dies_with_parent: bool) -> subprocess.Popen[bytes]:
    """Start a server in its own session, its output in `log`, holding the folder's lock."""
    before = _die_with(os.getpid()) if dies_with_parent else None
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=(lock.fd,),
            preexec_fn=before,  # noqa: PLW1509  # one prctl call; the caller starts servers before it starts threads
        )


def _die_with(parent: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return ask


def wait_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, what: str, seconds: float
) -> None:
    """Return when `ready()`; raise `StartFailed` with the end of the log when the process ends or time is up."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise StartFailed(f"{what} ended with code {process.returncode} while starting:\n{tail(log)}", f"see {log}")
        if time.monotonic() > end:
            process.kill()
            process.wait()
            raise StartFailed(f"{what} was not ready after {seconds:.0f} s:\n{tail(log)}", f"see {log}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def stop_pid(pid: int, seconds: float = STOP_SECONDS) -> None:
    """End a process: ask, wait, then insist. The caller has made sure that it is ours."""
    started = start_time(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while start_time(pid) == started and started is not None:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            end = time.monotonic() + seconds
        time.sleep(0.05)
