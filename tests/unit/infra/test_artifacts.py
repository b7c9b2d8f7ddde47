"""Pinned files: believed by checksum only, resumed after a broken download, never needing the network twice."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from driftlog_infra import artifacts, download, pins
from driftlog_infra.errors import FetchFailed

CONTENT = b"the pinned bytes " * 4096


class Repository(ThreadingHTTPServer):
    """A Maven repository in this process, which can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.breaks_after: int | None = None
        self.status = 200
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:  # the library's name
        repository = self.server
        wanted = self.headers["Range"]
        repository.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = repository.content[start:]
        self.send_response(206 if wanted and repository.status == 200 else repository.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if repository.breaks_after is None else body[: repository.breaks_after])

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTLOG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DRIFTLOG_MAVEN_URL", repository.url)
    monkeypatch.setattr(download._stream.retry, "sleep", lambda _: None)
    pin(tmp_path, monkeypatch, CONTENT, "a/b/b-1.jar")
    return tmp_path / "cache"


def pin(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, path: str) -> None:
    row = {"server": "kafka", "path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "lock.json").write_text(json.dumps([row]))
    monkeypatch.setattr(pins, "LOCK", folder / "lock.json")


def files(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "kafka").iterdir() if p.name != ".lock")


def test_fetched_once_then_offline(cache: Path, repository: Repository) -> None:
    (path,) = artifacts.fetch("kafka", quiet=True)
    assert path.read_bytes() == CONTENT
    repository.status = 500
    assert artifacts.fetch("kafka", quiet=True) == [path]
    assert len(repository.ranges) == 1


@pytest.mark.parametrize("content", [b"X" + CONTENT[1:], CONTENT + b"more", CONTENT[:-1]])
def test_wrong_bytes_are_refused_and_nothing_is_left(cache: Path, repository: Repository, content: bytes) -> None:
    repository.content = content
    with pytest.raises(FetchFailed, match=r"b-1\.jar is not the pinned file: sha256 .* expected") as refused:
        artifacts.fetch("kafka", quiet=True)
    assert refused.value.remedy
    assert files(cache) == []


def test_damaged_cache_is_fetched_anew(cache: Path) -> None:
    (path,) = artifacts.fetch("kafka", quiet=True)
    path.write_bytes(b"X" + CONTENT[1:])
    assert artifacts.fetch("kafka", quiet=True)[0].read_bytes() == CONTENT


def test_broken_download_goes_on_where_it_broke(cache: Path, repository: Repository) -> None:
    repository.breaks_after = 30_000
    (path,) = artifacts.fetch("kafka", quiet=True)
    assert path.read_bytes() == CONTENT
    assert repository.ranges == [None, "bytes=30000-", "bytes=60000-"]
    assert files(cache) == ["b-1.jar"]


def test_retries_have_an_end_and_keep_what_came(cache: Path, repository: Repository) -> None:
    repository.breaks_after = 10
    with pytest.raises(FetchFailed, match="cannot download"):
        artifacts.fetch("kafka", quiet=True)
    assert len(repository.ranges) == download.ATTEMPTS
    repository.breaks_after = None
    artifacts.fetch("kafka", quiet=True)
    assert repository.ranges[-1] == f"bytes={10 * download.ATTEMPTS}-"


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, download.ATTEMPTS)])
def test_only_what_may_pass_is_tried_again(cache: Path, repository: Repository, status: int, requests: int) -> None:
    repository.status = status
    with pytest.raises(FetchFailed, match=str(status)):
        artifacts.fetch("kafka", quiet=True)
    assert len(repository.ranges) == requests


def test_archive_is_unpacked_whole_and_not_kept(
    cache: Path, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("run.jar")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"jar"))
    repository.content = packed.getvalue()
    pin(tmp_path, monkeypatch, repository.content, "c/c-1.tar.gz")
    (cache / "kafka" / "unpacking").mkdir(parents=True)
    (cache / "kafka" / "unpacking" / "half").touch()

    folder = artifacts.fetch_unpacked("kafka", quiet=True)
    assert [p.name for p in folder.iterdir()] == ["run.jar"]
    assert files(cache) == [folder.name]
    repository.status = 500
    assert artifacts.fetch_unpacked("kafka", quiet=True) == folder


def test_unwritable_cache_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DRIFTLOG_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchFailed, match="cannot write to the cache"):
        artifacts.fetch("kafka", quiet=True)


def test_a_server_that_is_not_pinned_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOG_CACHE", str(tmp_path))
    with pytest.raises(FetchFailed, match="no postgres-plan9-mips to be had"):
        artifacts.fetch_unpacked("postgres-plan9-mips", quiet=True)


def test_the_lock_is_complete_and_names_no_host() -> None:
    servers = ("kafka", "registry", "postgres-linux-x86_64", "postgres-linux-aarch64")
    rows = [row for server in servers for row in pins.pinned(server)]
    names = {row.name.rpartition("-")[0] for row in rows}
    assert {"kafka_2.13", "kafka-server", "log4j-slf4j-impl", "log4j-core"} <= names
    assert len({row.name for row in rows}) == len(rows)
    assert all(len(row.sha256) == 64 and row.size > 0 and not row.path.startswith(("/", "http")) for row in rows)
