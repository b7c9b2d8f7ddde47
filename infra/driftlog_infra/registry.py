"""The embedded schema registry: Apicurio behind its Confluent-compatible API, loopback only.

With a folder its schemas live in an H2 file there and survive restarts; an ephemeral one keeps them in memory. A schema that
would break readers of older data is refused for every subject (compatibility BACKWARD), as production registries do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx

from driftlog_infra import artifacts
from driftlog_infra.java import java
from driftlog_infra.ports import LOOPBACK, free_port
from driftlog_infra.server import EmbeddedServer

API = "/apis/ccompat/v7"


class EmbeddedRegistry(EmbeddedServer):
    """One registry process. `folder=None` keeps its schemas in memory."""

    what: ClassVar[str] = "schema registry"
    port_option: ClassVar[str] = "--registry-port"
    log_name: ClassVar[str] = "registry"
    ready_seconds: ClassVar[float] = 90.0

    def __init__(
        self, folder: Path | None = None, port: int = 0, *, heap: str = "192m", detached: bool = False
    ) -> None:
        super().__init__(folder, port, detached=detached)
        self._heap = heap

    @property
    def url(self) -> str:
        """The Confluent-compatible API."""
        return f"http://{self.authority}{API}"

    @property
    def address(self) -> str:
        return self.url

    def fetch(self, *, quiet: bool) -> None:
        artifacts.fetch_unpacked("registry", quiet=quiet)

    def prepare(self) -> Sequence[str]:
        app = next(artifacts.fetch_unpacked("registry", quiet=True).rglob("quarkus-run.jar"))
        storage = "mem:registry" if self.ephemeral else f"file:{self.folder / 'schemas'}"
        settings = {
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": self.port,
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": free_port(),
            "quarkus.http.access-log.enabled": "false",
            "apicurio.rules.global.compatibility": "BACKWARD",
            "apicurio.datasource.url": f"jdbc:h2:{storage}",
        }
        return java(*(f"-D{key}={value}" for key, value in settings.items()), "-jar", str(app), heap=self._heap)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=1, trust_env=False).status_code == 200
        except httpx.TransportError:  # not listening yet; whoever asks again bounds how long
            return False
