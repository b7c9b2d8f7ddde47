"""Who holds a server's data folder.

The folder is claimed by `flock` on one file, and the server process inherits the lock, so the claim ends with
the server however it ends; there is no stale lock. In the file stands who holds it (pid, start time, address), for
`status`, `down` and for whoever is refused: first the program that is about to start a server, then the server. What
stands there is only believed while that very process lives: after a crash it is a left-over and says nothing.

What a server has started inherits the lock as well, and holds it a moment longer than a server that was killed. So a lock
whose holder is gone is waited for.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from driftlog_infra.errors import FolderBusy, FolderUnusable
from driftlog_infra.process import STOP_SECONDS, is_alive, start_time

_POLL_SECONDS = 0.05
_WIDTH = 1024  # one padded write of one size, so that a reader never sees half of it


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a folder; not yet a `server` at the very start. `address` is empty until it is ready."""

    pid: int
    started: str
    server: bool
    port: int = 0
    address: str = ""

    @classmethod
    def of_server(cls, pid: int, port: int = 0, address: str = "") -> Holder:
        return cls(pid, start_time(pid) or "", server=True, port=port, address=address)


def _file(folder: Path) -> Path:
    return folder / "server.lock"


def holder(folder: Path) -> Holder | None:
    """Who holds the folder; None if nobody alive does."""
    found = latest_holder(folder)
    return found if found is not None and is_alive(found.pid, found.started) else None


def latest_holder(folder: Path) -> Holder | None:
    """Who has held the folder last, alive or not; None if nobody has."""
    try:
        return Holder(**json.loads(_file(folder).read_text()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
        return None  # never claimed, or claimed this instant and not yet signed


class Claim:
    """An exclusive hold on a data folder; hand `fd` on to the server process, then `release` one's own."""

    def __init__(self, folder: Path) -> None:
        """Claim the folder, making it where it is missing. Raises `FolderBusy`, `FolderUnusable`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.fd = os.open(_file(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FolderUnusable(
                f"cannot use data folder {folder}: {error.strerror}", "choose another folder with --data"
            ) from error
        try:
            self._lock(folder)
        except BaseException:
            os.close(self.fd)
            raise
        self.sign(Holder(os.getpid(), start_time(os.getpid()) or "", server=False))

    def _lock(self, folder: Path) -> None:
        """At once where nobody holds it or somebody who lives; what a holder that is gone has left is given time to end."""
        end = time.monotonic() + STOP_SECONDS
        while True:
            try:
                return fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if holder(folder) or time.monotonic() > end:
                    raise busy(folder) from error
            time.sleep(_POLL_SECONDS)

    def sign(self, by: Holder) -> None:
        """Write down who holds the folder now."""
        text = json.dumps(asdict(by)).ljust(_WIDTH).encode()
        assert len(text) == _WIDTH
        os.pwrite(self.fd, text, 0)

    def withdraw(self) -> None:
        """Give the folder back: no server took it over."""
        os.ftruncate(self.fd, 0)
        self.release()

    def release(self) -> None:
        """Give up this process's share of the hold; a server that inherited it goes on holding."""
        with suppress(OSError):
            os.close(self.fd)


def busy(folder: Path) -> FolderBusy:
    """The error for a folder that another process holds."""
    found = holder(folder)
    who = f"process {found.pid}" if found else "another process"
    return FolderBusy(
        f"data folder {folder} is held by {who}",
        f"stop it with `driftlog broker down --data {folder.parent}`, or choose another folder with --data",
    )
