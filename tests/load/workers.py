"""Worker processes under test: the real `driftlog worker`, started, killed, frozen and ended from outside.

One `WorkerProcess` is one supervisor with its children. `kill` and `freeze` strike a child, as a fault would, and the
supervisor has to cope; `stop` asks the supervisor to end, as an operator would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from driftlog_infra.ports import free_port
from driftlog_schemas.public_key import key_text
from driftlog_streams.process.cores import processes, usable_cores
from driftlog_streams.settings import Workers
from tests.load import app as load_app
from tests.load.fleet import operator
from tests.load.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """What all workers of a run share."""

    bootstrap: str
    registry_url: str
    folder: Path
    space: str
    partitions: int = load_app.PARTITIONS
    app: str = "tests.load.app:app"
    session_timeout: float = 6.0


class WorkerProcess:
    """One supervisor of one slot. `files` is how many files each of its processes may have open."""

    def __init__(self, place: WorkerPlace, slot: str, workers: Workers = 1, files: int | None = None) -> None:
        self.slot = slot
        self._files = files
        self.log = place.folder / f"worker-{slot}.log"
        self.count = processes(workers, {place.space: place.partitions}, usable_cores())[place.space]
        self._command = [
            *(
                sys.executable,
                "-m",
                "driftlog",
                "worker",
                "--app",
                place.app,
                "--slot",
                slot,
                "--workers",
                str(workers),
            ),
            *("--bootstrap", place.bootstrap, "--registry", place.registry_url),
            *("--data-dir", str(place.folder / "workers"), "--session-timeout", str(place.session_timeout)),
        ]
        self._environment = {
            **os.environ,
            load_app.SPACE_VARIABLE: place.space,
            load_app.PARTITIONS_VARIABLE: str(place.partitions),
            "DRIFTLOG_TRUST__ROOT": key_text(operator().certificate.root),
        }
        self._folder = CHECKOUT
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; returns when all its children run (not when they merge)."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        limit = [] if self._files is None else ["prlimit", f"--nofile={self._files}:{self._files}"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*limit, *self._command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.await_children()
        return self

    def keep_in(self, folder: Path) -> None:
        """Its stores go there."""
        self._command[self._command.index("--data-dir") + 1] = str(folder)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """Process ids of the workers, the oldest first."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split() if _is_worker(int(pid))]

    def await_children(self) -> None:
        """Wait until as many children run as there should be."""
        until(
            lambda: len(self._alive()) == self.count,
            f"{self.slot} has {self.count} children",
            START_SECONDS,
            self.tail,
        )

    def kill(self, index: int = 0) -> int:
        """SIGKILL one child, once all run; its process id."""
        self.await_children()
        pid = self.children()[index]
        os.kill(pid, signal.SIGKILL)
        return pid

    def freeze(self, index: int = 0) -> int:
        """SIGSTOP one child, once all run; its process id, for `thaw`."""
        self.await_children()
        pid = self.children()[index]
        os.kill(pid, signal.SIGSTOP)
        return pid

    @staticmethod
    def thaw(pid: int) -> None:
        """SIGCONT."""
        os.kill(pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Gone, whatever it takes. Children die with their parent."""
        if self._process is not None and self._process.poll() is None:
            for pid in self.children():
                os.kill(pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _alive(self) -> list[int]:
        if not self.running:
            raise RuntimeError(
                f"worker {self.slot} ended by itself with {self._process and self._process.returncode}:{self.tail()}"
            )
        return self.children()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class WorkerHost(WorkerProcess):
    """A worker on a host of its own: it is told by its environment where things are, and nothing that the others are not. `settings` as in
    `WorkerSettings`, by name.
    """

    def __init__(self, place: WorkerPlace, name: str, **settings: str) -> None:
        super().__init__(place, name)
        self._command = [sys.executable, "-m", "driftlog", "worker"]
        self._folder = place.folder / name
        self._folder.mkdir()
        self.http = f"http://127.0.0.1:{(port := free_port())}"
        self._environment |= {
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "DRIFTLOG_APP": place.app,
            "DRIFTLOG_BOOTSTRAP": place.bootstrap,
            "DRIFTLOG_REGISTRY": place.registry_url,
            "DRIFTLOG_SESSION_TIMEOUT": str(place.session_timeout),
            "DRIFTLOG_METRICS_ADDRESS": str(port),
            **{f"DRIFTLOG_{name.upper()}": value for name, value in settings.items()},
        }


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
    return b"driftlog" in command  # a zombie has an empty command line
