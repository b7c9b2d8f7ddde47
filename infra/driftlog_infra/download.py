"""Downloading pinned files: parallel, bounded retries, resumed where a broken download left off, shown by a progress bar."""

from __future__ import annotations

import concurrent.futures as futures
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from driftlog_infra.errors import FetchFailed, NotInstalled
from driftlog_infra.pins import Artifact, checksum

THREADS = 6
ATTEMPTS = 4


def repository() -> str:
    """The Maven repository's address: DRIFTLOG_MAVEN_URL (a mirror), else the one that jgo knows."""
    if mirror := os.environ.get("DRIFTLOG_MAVEN_URL"):
        return mirror.rstrip("/")
    try:
        import jgo
    except ImportError as error:
        raise NotInstalled("fetching the servers needs the package jgo", "pip install 'driftlog[broker]'") from error
    return jgo.MAVEN_CENTRAL_URL.rstrip("/")


def download_all(artifacts: Sequence[Artifact], folder: Path, *, quiet: bool) -> None:
    """Bring all files into the folder, or raise `FetchFailed` for the first that cannot be had."""
    base = repository()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), disable=quiet) as progress,
        httpx.Client(timeout=60, follow_redirects=True) as client,
        futures.ThreadPoolExecutor(THREADS) as pool,
    ):
        task = progress.add_task(f"fetching {artifacts[0].server}", total=sum(a.size for a in artifacts))
        jobs = [
            pool.submit(_download, client, base, a, folder / a.name, lambda n: progress.advance(task, n))
            for a in artifacts
        ]
        try:
            for job in futures.as_completed(jobs):
                job.result()
        except FetchFailed:
            pool.shutdown(cancel_futures=True)
            raise


def _download(
    client: httpx.Client, base: str, artifact: Artifact, target: Path, advance: Callable[[int], None]
) -> None:
    part = target.with_name(f"{artifact.sha256[:16]}.part")
    try:
        _stream(client, f"{base}/{artifact.path}", artifact, part, advance)
    except httpx.HTTPError as error:
        raise FetchFailed(
            f"cannot download {artifact.name}: {error or type(error).__name__}",
            "check the network and run again; what was fetched is kept",
        ) from error
    except OSError as error:
        raise FetchFailed(f"cannot store {artifact.name}: {error}", f"free space in {part.parent}") from error
    found = checksum(part)
    if found != artifact.sha256:
        part.unlink()
        raise FetchFailed(
            f"{artifact.name} is not the pinned file: sha256 {found}, expected {artifact.sha256}",
            "something on the way from the repository changes files; try another network or mirror",
        )
    part.replace(target)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx.TransportError)


@retry(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential_jitter(multiplier=0.5, max=5),
    reraise=True,
)
def _stream(client: httpx.Client, url: str, artifact: Artifact, part: Path, advance: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have >= artifact.size:
        return  # complete, or not ours at all: its checksum decides
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers) as answer:
        answer.raise_for_status()
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        done = have if resumed else 0
        advance(done)
        try:
            with part.open("ab" if resumed else "wb") as out:
                for chunk in answer.iter_raw():
                    out.write(chunk)
                    done += len(chunk)
                    advance(len(chunk))
                    if done > artifact.size:
                        return  # longer than pinned; its checksum will refuse it
        except httpx.TransportError:
            advance(-done)  # the next attempt counts what is there
            raise
