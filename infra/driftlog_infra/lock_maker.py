"""Makes the lock of server files anew: `python -m driftlog_infra.lock_maker` (for who changes a version, never for users).

Resolving Maven coordinates takes a minute and trusts the repository; that is why its result is written down, with size
and SHA-256 of every file, and reviewed like code. Kafka logs through SLF4J and brings no binding of its own, so one is added.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import httpx
import jgo
from rich.console import Console
from rich.progress import track

from driftlog_infra.download import repository
from driftlog_infra.pins import LOCK, Artifact

KAFKA = ("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
REGISTRY = "io/apicurio/apicurio-registry-app/3.3.3/apicurio-registry-app-3.3.3-all.tar.gz"
_POSTGRES = "17.11.0"
POSTGRES = {
    "postgres-linux-x86_64": "linux-amd64",
    "postgres-linux-aarch64": "linux-arm64v8",
    "postgres-darwin-x86_64": "darwin-amd64",
    "postgres-darwin-arm64": "darwin-arm64v8",
}
"""What a machine calls itself, and how its programs are called in the repository."""


def resolve(coordinates: tuple[str, ...]) -> list[str]:
    """The repository paths of the coordinates and all that they need; the first version of a library named wins."""
    paths: dict[str, str] = {}
    for coordinate in coordinates:
        for found in jgo.resolve(coordinate):
            folder = f"{found.groupId.replace('.', '/')}/{found.artifactId}/{found.version}"
            paths.setdefault(f"{found.groupId}:{found.artifactId}", f"{folder}/{found.artifactId}-{found.version}.jar")
    return sorted(paths.values())


def postgres_path(programs: str) -> str:
    """Of the archive with the server's programs for one kind of machine."""
    name = f"embedded-postgres-binaries-{programs}"
    return f"io/zonky/test/postgres/{name}/{_POSTGRES}/{name}-{_POSTGRES}.jar"


def make_lock() -> list[Artifact]:
    """Resolve, download every file once, and measure it."""
    wanted = [*(("kafka", path) for path in resolve(KAFKA)), ("registry", REGISTRY)]
    wanted += [(server, postgres_path(programs)) for server, programs in POSTGRES.items()]
    rows = []
    with httpx.Client(timeout=120, follow_redirects=True) as client:
        for server, path in track(wanted, "measuring", console=Console(stderr=True)):
            data = client.get(f"{repository()}/{path}").raise_for_status().content
            rows.append(Artifact(server, path, len(data), hashlib.sha256(data).hexdigest()))
    return rows


if __name__ == "__main__":
    LOCK.write_text(json.dumps([asdict(row) for row in make_lock()], indent=1) + "\n")
