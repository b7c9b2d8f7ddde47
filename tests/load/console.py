"""A console under test: the real `driftlog console`, reached with a browser or as a program with a token."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

import httpx

from driftlog_console.people import FIRST_TOKEN
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load import app as load_app
from tests.load.waiting import until
from tests.load.workers import CHECKOUT, Program, WorkerPlace

START_SECONDS = 120.0
STOP_SECONDS = 30.0


class ConsoleProcess:
    """One console: a device of its own. Without scopes it shows every one that there is."""

    def __init__(self, place: WorkerPlace, device: Identity, scopes: Sequence[str] = (), name: str = "console") -> None:
        folder = place.folder / name
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.log = folder / "console.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        device.save(folder / "identity.json")
        self._place = place
        self._words = [
            *("console", "--app", place.app, "--data-dir", str(self.data)),
            *("--identity", str(folder / "identity.json"), "--http-port", str(self.port)),
            *("--bootstrap", place.bootstrap, "--registry", place.registry_url),
            *(part for scope in scopes for part in ("--scope", scope)),
        ]
        self.environment = {
            **os.environ,
            load_app.SPACE_VARIABLE: place.space,
            load_app.PARTITIONS_VARIABLE: str(place.partitions),
        }
        self._process: Program | None = None

    def start(self) -> Self:
        """Start it; returns when it is ready."""
        self._process = self._place.program(self._words, CHECKOUT, self.environment, self.log)
        until(self._ready, "the console is ready", START_SECONDS, self.tail)
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the console ended by itself:{self.tail()}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False, verify=False).status_code == 200
        except httpx.TransportError:  # not listening yet
            return False

    @property
    def token(self) -> str:
        """The first person's, who may do everything."""
        return (self.data / FIRST_TOKEN).read_text().strip()

    def page(self, path: str, token: str = "") -> str:
        """A page as somebody sees it, the first person if nobody is named. Raises AssertionError with the problem in it."""
        headers = {"authorization": f"Bearer {token or self.token}", "accept": "text/html"}
        answer = httpx.get(self.url + path, headers=headers, timeout=30, trust_env=False, verify=False)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.text

    def send(self, path: str, token: str = "", **form: str) -> httpx.Response:
        """A form of a page, from the first person if nobody is named."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        return httpx.post(self.url + path, data=form, headers=headers, timeout=30, trust_env=False, verify=False)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def ended(self, seconds: float = START_SECONDS) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
