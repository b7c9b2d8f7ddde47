"""The life of one embedded server: claimed folder, free port, spawned process, readiness, end.

Kafka and the registry differ in what they run and how they are asked whether they are ready; everything around that is the
same and stands here once. `stop` and `kill` leave the folder and the port as they were, so a test can start the same
server again; `close` also removes an ephemeral folder. An attached server ends with this program, even when the
program is killed (see `warden`); a detached one does so only until it is ready, then goes on and is found again by its
folder (see `claim`).

A port that was free when we looked may be taken when the server binds it. Then a port of our own choice is drawn
again, a bounded number of times; a port that the caller chose is reported. Whether it is taken is asked of the system, not of
the server's log, whose last lines may be anything.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from driftlog_infra import class_cache
from driftlog_infra.claim import Claim, Holder
from driftlog_infra.errors import FolderUnusable, StartFailed
from driftlog_infra.ports import LOOPBACK, free_port, is_free, listens, require_free, taken
from driftlog_infra.process import STOP_SECONDS
from driftlog_infra.security import Security
from driftlog_infra.warden import Warden

_ATTEMPTS = 3
_POLL_SECONDS = 0.05
_TAIL_LINES = 12
_IN_USE = ("ddress already in use", "in use by another process")
_TELLING = ("ERROR", "FATAL", "Exception", "Caused by:")
_NOISE = ("\t", "WARNING:", "OpenJDK")
"""How lines begin that say nothing about why a server ended: stack frames, and what the Java machine thinks of it."""


class EmbeddedServer(ABC):
    """One server process over one data folder; `folder=None` makes an ephemeral one."""

    what: ClassVar[str]
    port_option: ClassVar[str]
    artifact: ClassVar[str]
    log_name: ClassVar[str]
    ready_seconds: ClassVar[float]
    misreads: ClassVar[str] = ""
    """Characters that no path may hold which it is given: it takes them for the end of it, or for something else."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """What ends it cleanly, whoever is connected."""

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        *,
        detached: bool = False,
        security: Security | None = None,
    ) -> None:
        assert folder is not None or not detached, "an ephemeral server has to end with its program"
        self.ephemeral = folder is None
        self.folder = (folder or Path(tempfile.mkdtemp(prefix=f"driftlog-{self.log_name}-"))).absolute()
        self.port = port
        self.security = security
        """TLS and a user; None for neither."""
        self.class_flags = class_cache.reading(self.artifact)
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
        self._require_readable_path()
        self.fetch(quiet=quiet)
        claim = Claim(self.folder)
        try:
            self._start_claimed(claim)
        except BaseException:
            claim.withdraw()
            raise
        claim.release()
        return self

    def _require_readable_path(self) -> None:
        misread = next((mark for mark in self.misreads if mark in str(self.folder)), None)
        if misread is not None:
            raise FolderUnusable(
                f"{self.what} misreads the character {misread} in {self.folder}",
                f"set TMPDIR to a folder without {misread}"
                if self.ephemeral
                else f"choose a data folder without {misread}",
            )

    def _start_claimed(self, claim: Claim) -> None:
        for attempt in range(_ATTEMPTS):
            if self._port_is_chosen:
                require_free(self.port, self.what, self.port_option)
            elif not self.port or not is_free(self.port):
                self.port = free_port()
            try:
                return self._launch(claim)
            except StartFailed as error:
                lost = not is_free(self.port)
                if lost and (self._port_is_chosen or attempt == _ATTEMPTS - 1):
                    raise taken(self.port, self.what, self.port_option) from error
                other = any(words in error.log_tail for words in _IN_USE)  # a port for the server's own needs
                if attempt == _ATTEMPTS - 1 or not (lost or other):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _launch(self, claim: Claim) -> None:
        self._warden = Warden(remove=self.folder if self.ephemeral else None)
        try:
            command = self.prepare()
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
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

    def run_tool(self, command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run one of the server's tools to its end while the server is prepared. Raises subprocess.TimeoutExpired."""
        assert self._warden is not None, "the server is being prepared"
        return subprocess.run(
            self._warden.watched(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            pass_fds=(self._warden.pipe,),
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.ready_seconds
        while not (
            listens(self.port) and self.answers()
        ):  # a real request costs more than the look whether anybody is there
            if process.poll() is not None:
                raise self._start_failed(f"{self.what} ended with code {process.returncode} while starting")
            if time.monotonic() > end:
                raise self._start_failed(f"{self.what} was not ready after {self.ready_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        if process.poll() is not None:  # what answered was someone else, on a port that both wanted
            raise self._start_failed(f"{self.what} ended with code {process.returncode} while starting")

    def _start_failed(self, fact: str) -> StartFailed:
        where = "its log is gone with its ephemeral folder" if self.ephemeral else f"see {self.log}"
        return StartFailed(f"{fact}: {self.telling_line()}", where, self._text())

    def stop(self) -> None:
        """End the server cleanly, by force if it takes too long; folder and port stay."""
        try:
            self.end(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def end(self, seconds: float) -> None:
        """The same without force. Raises subprocess.TimeoutExpired."""
        if self._process is not None and self.running:
            self._process.send_signal(self.stop_signal)
            self._process.wait(seconds)
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
        return "\n".join(self._text().splitlines()[-_TAIL_LINES:])

    def telling_line(self) -> str:
        """The line of the server's log that most likely says why it ended."""
        lines = [line for line in self._text().splitlines() if line.strip() and not line.startswith(_NOISE)]
        errors = [line for line in lines if any(word in line for word in _TELLING)]
        return ([*lines[-1:], *errors[-1:]] or ["no output"])[-1][:300]

    def _text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

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
