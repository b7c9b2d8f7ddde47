"""The life of one embedded server: claimed folder, free port, spawned process, readiness, end.

Kafka and the registry differ in what they run and how they are asked whether they are ready; everything around that is the
same and stands here once. `stop` and `kill` leave the folder and the port as they were, so a test can start the same
server again; `close` also removes an ephemeral folder. An attached server ends with this program, even when the
program is killed (see `warden`); a detached one does so only until it is ready, then goes on and is found again by its
folder (see `claim`).

A port that was free when we looked may be taken when the server binds it. Then a port of our own choice is drawn
again, a bounded number of times; a port that the caller chose is reported.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from driftlog_infra.claim import Claim, Holder
from driftlog_infra.errors import StartFailed
from driftlog_infra.ports import LOOPBACK, free_port, is_free, require_free, taken
from driftlog_infra.process import STOP_SECONDS
from driftlog_infra.warden import Warden

_ATTEMPTS = 3
_POLL_SECONDS = 0.05
_TAIL_LINES = 12


class EmbeddedServer(ABC):
    """One server process over one data folder; `folder=None` makes an ephemeral one."""

    what: ClassVar[str]
    port_option: ClassVar[str]
    log_name: ClassVar[str]
    ready_seconds: ClassVar[float]

    def __init__(self, folder: Path | None = None, port: int = 0, *, detached: bool = False) -> None:
        assert folder is not None or not detached, "an ephemeral server has to end with its program"
        self.ephemeral = folder is None
        self.folder = (folder or Path(tempfile.mkdtemp(prefix=f"driftlog-{self.log_name}-"))).absolute()
        self.port = port
        self.log = self.folder / f"{self.log_name}.log"
        self._port_is_chosen = port != 0
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._warden: Warden | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """What clients are told to connect to."""

    @abstractmethod
    def prepare(self) -> Sequence[str]:
        """Make the folder ready for `self.port` and return the command to run."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a real request now."""

    @abstractmethod
    def fetch(self, *, quiet: bool) -> None:
        """Have the server's files in the cache."""

    @property
    def authority(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self, *, quiet: bool = True) -> Self:
        """Fetch, prepare and start as needed; return when clients can talk to it.

        Raises:
            FolderBusy, FolderUnusable, PortTaken, FetchFailed, NotInstalled, StartFailed: nothing of ours runs then.
        """
        assert not self.running, f"{self.what} runs already"
        self.fetch(quiet=quiet)
        claim = Claim(self.folder)
        try:
            self._start_claimed(claim)
        except BaseException:
            claim.withdraw()
            raise
        claim.release()
        return self

    def _start_claimed(self, claim: Claim) -> None:
        for attempt in range(_ATTEMPTS):
            if self._port_is_chosen:
                require_free(self.port, self.what, self.port_option)
            elif not self.port or not is_free(self.port):
                self.port = free_port()
            try:
                return self._launch(claim)
            except StartFailed as error:
                if "ddress already in use" not in error.log_tail or attempt == _ATTEMPTS - 1:
                    raise
        raise taken(self.port, self.what, self.port_option)

    def _launch(self, claim: Claim) -> None:
        command = self.prepare()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self._warden = Warden(remove=self.folder if self.ephemeral else None)
        try:
            with self.log.open("wb") as out:
                self._process = subprocess.Popen(
                    self._warden.watched(command),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(claim.fd, self._warden.pipe),
                )
            claim.sign(Holder.of_server(self._process.pid))
            self._wait_until_ready(self._process)
            claim.sign(Holder.of_server(self._process.pid, self.port, self.address))
        except BaseException:  # also when interrupted: nothing may be left running
            self.kill()
            raise
        if self._detached:
            self._dismiss_warden()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.ready_seconds
        while not self.answers():
            if process.poll() is not None:
                raise self._start_failed(f"{self.what} ended with code {process.returncode} while starting")
            if time.monotonic() > end:
                raise self._start_failed(f"{self.what} was not ready after {self.ready_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        if process.poll() is not None:  # what answered was someone else, on a port that both wanted
            raise self._start_failed(f"{self.what} ended with code {process.returncode} while starting")

    def _start_failed(self, fact: str) -> StartFailed:
        tail = self.log_tail()
        last = next((line for line in reversed(tail.splitlines()) if line and not line.startswith("\t")), "no output")
        where = "its log is gone with its ephemeral folder" if self.ephemeral else f"see {self.log}"
        return StartFailed(f"{fact}: {last[:300]}", where, tail)

    def stop(self) -> None:
        """End the server cleanly, by force if it takes too long; folder and port stay."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; folder and port stay."""
        if self._process is not None and self.running:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
        self._dismiss_warden()

    def _dismiss_warden(self) -> None:
        if self._warden is not None:
            self._warden.dismiss()
            self._warden = None

    def close(self) -> None:
        """Stop, and remove an ephemeral folder."""
        self.stop()
        if self.ephemeral:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """The end of the server's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
