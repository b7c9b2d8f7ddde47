"""The embedded schema registry: Apicurio behind its Confluent-compatible API, loopback only.

With a folder its schemas live in an H2 file there and survive restarts; an ephemeral one keeps them in memory. A schema that
would break readers of older data is refused for every subject (compatibility BACKWARD), as production registries do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx
from pydantic import ValidationError

from driftlog_infra import artifacts
from driftlog_infra.java import java
from driftlog_infra.ports import LOOPBACK, free_port
from driftlog_infra.security import Security
from driftlog_infra.server import EmbeddedServer
from driftlog_schemas.connection import RegistrySettings

API = "/apis/ccompat/v7"


class EmbeddedRegistry(EmbeddedServer):
    """One registry process. `folder=None` keeps its schemas in memory."""

    what: ClassVar[str] = "schema registry"
    port_option: ClassVar[str] = "--registry-port"
    artifact: ClassVar[str] = "registry"
    log_name: ClassVar[str] = "registry"
    misreads: ClassVar[str] = ";,\\"
    ready_seconds: ClassVar[float] = 90.0

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        *,
        heap: str = "192m",
        detached: bool = False,
        security: Security | None = None,
    ) -> None:
        super().__init__(folder, port, detached=detached, security=security)
        self._heap = heap

    @property
    def url(self) -> str:
        """The Confluent-compatible API."""
        return f"{'http' if self.security is None else 'https'}://{self.authority}{API}"

    @property
    def settings(self) -> RegistrySettings:
        """How a client reaches it."""
        return RegistrySettings(url=self.url) if self.security is None else self.security.registry(self.url)

    @property
    def address(self) -> str:
        return self.url

    def fetch(self, *, quiet: bool) -> None:
        artifacts.fetch_unpacked(self.artifact, quiet=quiet)

    def prepare(self) -> Sequence[str]:
        app = next(artifacts.fetch_unpacked(self.artifact, quiet=True).rglob("quarkus-run.jar"))
        storage = "mem:registry" if self.ephemeral else f"file:{self.folder / 'schemas'}"
        settings = {
            "quarkus.http.host": LOOPBACK,
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": free_port(),
            "quarkus.http.access-log.enabled": "false",
            "apicurio.rules.global.compatibility": "BACKWARD",
            "apicurio.datasource.url": f"jdbc:h2:{storage}",
            **self._listener(),
        }
        command = (*(f"-D{key}={value}" for key, value in settings.items()), "-jar", str(app))
        return java(*command, heap=self._heap, classes=self.class_flags)

    def _listener(self) -> dict[str, object]:
        if self.security is None:
            return {"quarkus.http.port": self.port}
        self.security.ensure()
        return {
            "quarkus.http.ssl-port": self.port,
            "quarkus.http.insecure-requests": "disabled",
            "quarkus.http.ssl.certificate.files": self.security.certificate,
            "quarkus.http.ssl.certificate.key-files": self.security.key,
        }

    def answers(self) -> bool:
        try:
            verify = self.settings.tls()
            return httpx.get(f"{self.url}/subjects", timeout=1, trust_env=False, verify=verify).status_code == 200
        except httpx.TransportError:  # not listening yet; whoever asks again bounds how long
            return False
        except ValidationError:  # its certificate is not written yet
            return False
