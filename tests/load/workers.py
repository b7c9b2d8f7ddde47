"""Worker processes under test: the real `driftlog worker`, started, killed, frozen and ended from outside.

One `WorkerProcess` is one supervisor with its children. `kill` and `freeze` strike a child, as a fault would, and the
supervisor has to cope; `stop` asks the supervisor to end, as an operator would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from driftlog_infra.ports import free_port
from driftlog_schemas.public_key import key_text
from driftlog_streams.process.cores import processes, usable_cores
from driftlog_streams.settings import Workers
from tests.copies import Copy, alive, children, driftlog_copied
from tests.load import app as load_app
from tests.load.fleet import operator
from tests.load.waiting import until

Program = Copy | subprocess.Popen[bytes]
CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 90.0
PRELOADED = "LD_PRELOAD"
"""Of an environment: libraries that the system loads before Python."""


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
    anew: bool = False
    """Python starts anew for each program, instead of a copy that has imported everything (see `tests.copies`)."""

    def program(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        under: Sequence[str] = (),
    ) -> Program:
        """`driftlog` with these words, left running; what it says goes to the end of the log. `under` is a command that starts it."""
        with log.open("ab") as out:
            if not (self.anew or under or PRELOADED in environment):
                return driftlog_copied(words, folder, environment, stdout=out.fileno(), stderr=out.fileno())
            command = [*under, sys.executable, "-m", "driftlog", *words]
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )


class WorkerProcess:
    """One supervisor of one slot. `files` is how many files each of its processes may have open."""

    def __init__(self, place: WorkerPlace, slot: str, workers: Workers = 1, files: int | None = None) -> None:
        self.slot = slot
        self._place = place
        self._files = files
        self.log = place.folder / f"worker-{slot}.log"
        self.count = processes(workers, {place.space: place.partitions}, usable_cores())[place.space]
        self._words = [
            *("worker", "--app", place.app, "--slot", slot, "--workers", str(workers)),
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
        self._process: Program | None = None

    def start(self) -> Self:
        """Start it; returns when all its children run (not when they merge)."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        limit = [] if self._files is None else ["prlimit", f"--nofile={self._files}:{self._files}"]
        self._process = self._place.program(self._words, self._folder, self._environment, self.log, limit)
        self.await_children()
        return self

    def keep_in(self, folder: Path) -> None:
        """Its stores go there."""
        self._words[self._words.index("--data-dir") + 1] = str(folder)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """Process ids of the workers, the oldest first."""
        return children(self.pid)

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
            workers = self.children()
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            until(lambda: not any(map(alive, workers)), f"the children of {self.slot} have died with it", STOP_SECONDS)

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
        self._words = ["worker"]
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
