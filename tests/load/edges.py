"""Edge agents under test: the real `driftlog edge run`, talked to over HTTP, killed and started again from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any, Self

import httpx

from driftlog.client.place import TokenAuth
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load import app as load_app
from tests.load.waiting import until
from tests.load.workers import CHECKOUT, Program, WorkerPlace

START_SECONDS = 120.0
STOP_SECONDS = 90.0
CALL_SECONDS = 60.0


class EdgeProcess:
    """One agent: one device, one folder, one port. `name` is the folder's, by default the device's."""

    def __init__(self, place: WorkerPlace, device: Identity, scopes: Sequence[str], name: str = "") -> None:
        self.device = device
        folder = place.folder / (name or device.device_id)
        folder.mkdir(exist_ok=True)
        self.replica = folder / "replica"
        self.log = folder / "edge.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth = TokenAuth(folder / "replica" / "token")
        device.save(folder / "identity.json")
        settings: dict[str, Any] = {
            "data_dir": str(folder / "replica"),
            "identity": str(folder / "identity.json"),
            "bootstrap": place.bootstrap,
            "registry": place.registry_url,
            "scopes": list(scopes),
            "http_port": self.port,
        }
        config = folder / "edge.toml"
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        self._place = place
        self._words = ["edge", "run", "--app", place.app, "--config", str(config)]
        self.app = place.app
        self.environment = {
            **os.environ,
            load_app.SPACE_VARIABLE: place.space,
            load_app.PARTITIONS_VARIABLE: str(place.partitions),
        }
        self._process: Program | None = None
        self._client = self.client()

    def start(self) -> Self:
        """Start it; returns when it answers."""
        self.launch()
        until(self.answers, f"{self.device.device_id} answers", START_SECONDS, self.tail)
        return self

    def launch(self) -> None:
        """Start it, and do not wait."""
        assert not self.running, "it runs already"
        self._process = self._place.program(self._words, CHECKOUT, self.environment, self.log)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def killed(self) -> bool:
        """Did SIGKILL end it?"""
        return self._process is not None and self._process.poll() == -signal.SIGKILL

    def answers(self) -> bool:
        """Does its API answer? Raises RuntimeError if the process has ended."""
        if not self.running:
            raise RuntimeError(f"{self.device.device_id} ended by itself:{self.tail()}")
        try:
            return self._client.get("/healthz", timeout=2).status_code == 200
        except httpx.TransportError:  # not listening yet
            return False

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

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def disk_usage(self) -> int:
        """The bytes that its store takes on the disk, as `du` counts them: in blocks, also those that no file has come to use yet."""
        command = ["du", "--summarize", "--block-size=1", str(self.replica)]
        counted = subprocess.run(command, check=False, capture_output=True, text=True)  # a file may go meanwhile
        return int(counted.stdout.split()[0])

    # -- what an application asks

    def client(self, timeout: float = CALL_SECONDS) -> httpx.Client:
        """A client of its own, for who calls from another thread."""
        return httpx.Client(base_url=self.url, auth=self.auth, timeout=timeout, trust_env=False, verify=False)

    def do(self, command: str, *, key: str = "", wait: str = "disk", **arguments: object) -> dict[str, Any]:
        """Run a command. Raises AssertionError with the problem in it."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._json(
            "POST", f"/v1/commands/{command}", json=arguments, headers=headers, params={"wait": wait, "timeout": "30s"}
        )

    def write(self, scope: str, item: str, field: str, op: str, *args: object, key: str = "") -> dict[str, Any]:
        """Change a field without a command."""
        headers = {"Idempotency-Key": key} if key else {}
        body = [{"field": field, "op": op, "args": list(args)}]
        return self._json("POST", f"/v1/documents/{load_app.COLLECTION}/{scope}/{item}", json=body, headers=headers)

    def read(self, scope: str, item: str) -> dict[str, Any]:
        """The document as this replica sees it."""
        return self._json("GET", f"/v1/documents/{load_app.COLLECTION}/{scope}/{item}")

    def find(self, scope: str, item: str) -> dict[str, Any] | None:
        """The document's value; None as long as it has not come here."""
        answer = self._client.get(f"/v1/documents/{load_app.COLLECTION}/{scope}/{item}")
        return None if answer.status_code == 404 else dict(answer.raise_for_status().json()["value"])

    def offer(self, scope: str, name: str) -> dict[str, Any]:
        """The value of an offer as this replica sees it."""
        return dict(self._json("GET", f"/v1/documents/Offer/{scope}/{name}")["value"])

    def review(self, command_id: str, **decision: bool) -> dict[str, Any]:
        """Decide about a command on the review list."""
        return self._json("POST", f"/v1/review/{command_id}", json=decision)

    def status(self) -> dict[str, Any]:
        return self._json("GET", "/v1/status")

    def conflicts(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """Those that are not over, or all that it knows."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/conflicts", params={"all": everything})["conflicts"]
        return found

    def set(self, what: str, **settings: object) -> dict[str, Any]:
        """Change settings, or tell of power."""
        return self._json("PUT", f"/v1/{what}", json=settings)

    def command(self, command_id: str) -> dict[str, Any]:
        """What became of it."""
        return self._json("GET", f"/v1/commands/{command_id}")

    def go_offline(self, offline: bool) -> None:
        self._json("POST", "/v1/offline", json={"offline": offline}, params={"timeout": "30s"})

    def await_quiet(self, seconds: float = 90.0) -> None:
        """Wait until nothing of its own is pending."""
        until(lambda: self.status()["pending"] == 0, f"{self.device.device_id} has nothing pending", seconds, self.tail)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._client.request(method, path, **options)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return dict(answer.json())

    def close(self) -> None:
        """Gone, whatever it takes."""
        self._client.close()
        if self.running:
            self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
