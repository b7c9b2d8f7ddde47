"""The demo's processes: started, watched, ended, whatever happens.

Every child writes to its own log and dies with the demo, also when the demo is killed: a warden waits beside it. Waiting is always for a condition, with a bound; when the bound is
reached the message says which process's log to read and shows its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from driftlog_infra.warden import Warden

T = TypeVar("T")

STOP_SECONDS = 40.0
"""More than the supervisor of workers gives its own."""


class DemoFailed(RuntimeError):
    """Something that should have happened did not. `remedy` says where to look."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact)
        self.remedy = remedy


class Child:
    """One `driftlog` process of the demo."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        log: Path,
        warden: Warden,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`environment` stands beside the program's own."""
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                warden.watched([sys.executable, "-m", "driftlog", *arguments]),
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # what ends the demo by a key must not end it out of order
                pass_fds=(warden.pipe,),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def require_alive(self) -> None:
        """Raise `DemoFailed` with the end of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise DemoFailed(f"{self.name} ended with code {code}: {self.tail()}", f"see {self.log}")

    def require_end(self, seconds: float) -> None:
        """Wait until it has ended. Raises `DemoFailed` where it does not end in time, or not well."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(
                f"{self.name} did not end within {seconds:.0f} s: {self.tail()}", f"see {self.log}"
            ) from error
        if code:
            raise DemoFailed(f"{self.name} ended with code {code}: {self.tail()}", f"see {self.log}")

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Ask, wait, insist: also what it has started must be gone, for it writes into the folder that goes next."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, to all that it has started too."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 8) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def until(what: str, condition: Callable[[], T | None], children: Sequence[Child], seconds: float = 60.0) -> T:
    """The first true value of `condition`. Raises `DemoFailed` when time is up or a child has ended."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        for child in children:
            child.require_alive()
        if time.monotonic() > end:
            raise DemoFailed(f"waited {seconds:.0f} s in vain for {what}", f"see the logs in {children[0].log.parent}")
        time.sleep(0.05)
