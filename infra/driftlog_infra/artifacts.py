"""Pinned server files: a lock of paths, sizes and SHA-256, fetched in parallel into a cache.

The lock (`servers.lock.json`) names Maven paths without a host; jgo knows the repository's address. A file
enters the cache only under its final name after its checksum was right, so a broken download leaves a `.part` file and
nothing else, and a second run needs no network. `python -m driftlog_infra.artifacts` makes the lock anew (developers only).
"""

from __future__ import annotations

import concurrent.futures as futures
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import jgo
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from driftlog_infra.errors import FetchFailed

LOCK = Path(__file__).with_name("servers.lock.json")
KAFKA = ("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
REGISTRY = "io/apicurio/apicurio-registry-app/3.3.3/apicurio-registry-app-3.3.3-all.tar.gz"
THREADS = 6


@dataclass(frozen=True, slots=True)
class Artifact:
    """One pinned file; `path` is relative to the repository's root, `size` in bytes."""

    server: str
    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def cache_dir() -> Path:
    """Where server files are kept: DRIFTLOG_CACHE, else the user's cache folder."""
    if own := os.environ.get("DRIFTLOG_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftlog"


def pinned(server: str) -> list[Artifact]:
    """The pinned files of `kafka` or `registry`."""
    return [a for a in (Artifact(**row) for row in json.loads(LOCK.read_text())) if a.server == server]


def fetch(server: str, *, quiet: bool = False) -> list[Path]:
    """The local paths of a server's files, downloading what the cache lacks.

    Raises:
        FetchFailed: no network and not cached, or a file's checksum is not the pinned one.
    """
    folder = cache_dir() / server
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pinned(server)
    missing = [a for a in wanted if not _present(folder / a.name, a)]
    if missing:
        _download_all(missing, folder, quiet=quiet)
    return [folder / a.name for a in wanted]


def _present(path: Path, artifact: Artifact) -> bool:
    # The name is only given after the checksum was right; the size catches a file cut by a full disk afterwards.
    return path.exists() and path.stat().st_size == artifact.size


def _download_all(artifacts: Sequence[Artifact], folder: Path, *, quiet: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, disable=quiet) as progress,
        httpx.Client(timeout=60, follow_redirects=True) as client,
        futures.ThreadPoolExecutor(THREADS) as pool,
    ):
        task = progress.add_task(f"fetching {artifacts[0].server}", total=sum(a.size for a in artifacts))
        jobs = [
            pool.submit(_download, client, a, folder / a.name, lambda n: progress.advance(task, n)) for a in artifacts
        ]
        for job in futures.as_completed(jobs):
            job.result()


def _download(client: httpx.Client, artifact: Artifact, target: Path, advance: Callable[[int], None]) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        digest = _stream(client, artifact, part, advance)
    except httpx.HTTPError as error:
        part.unlink(missing_ok=True)
        raise FetchFailed(
            f"cannot download {artifact.name}: {error}",
            "check the network and run again; what was fetched is kept",
        ) from error
    if digest != artifact.sha256:
        part.unlink()
        raise FetchFailed(
            f"{artifact.name} is not the pinned file: sha256 {digest}, expected {artifact.sha256}",
            "something between here and the repository changes files; do not use it",
        )
    part.replace(target)


@retry(
    retry=retry_if_exception_type(httpx.TransportError),
    stop=stop_after_attempt(4),
    wait=wait_exponential_jitter(0.5, 5),
    reraise=True,
)
def _stream(client: httpx.Client, artifact: Artifact, part: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with client.stream("GET", f"{jgo.MAVEN_CENTRAL_URL}/{artifact.path}") as answer, part.open("wb") as out:
        answer.raise_for_status()
        for chunk in answer.iter_bytes(1 << 18):
            digest.update(chunk)
            out.write(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def make_lock() -> None:
    """Resolve the coordinates, download all files once and write the lock."""
    paths: dict[str, str] = {}
    for coordinate in KAFKA:
        for a in jgo.resolve(coordinate):
            name = f"{a.artifactId}-{a.version}.jar"
            paths.setdefault(
                f"{a.groupId}:{a.artifactId}", f"{a.groupId.replace('.', '/')}/{a.artifactId}/{a.version}/{name}"
            )
    rows = []
    with httpx.Client(timeout=120, follow_redirects=True) as client:
        for server, path in [*(("kafka", p) for p in sorted(paths.values())), ("registry", REGISTRY)]:
            data = client.get(f"{jgo.MAVEN_CENTRAL_URL}/{path}").raise_for_status().content
            rows.append(asdict(Artifact(server, path, len(data), hashlib.sha256(data).hexdigest())))
    LOCK.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    make_lock()
