"""Pinned server files in a per-user cache: fetched once, in parallel, believed only by checksum.

The lock (`pins`) names paths in a Maven repository without a host; jgo knows the repository's address. A file
gets its final name only after its SHA-256 was right; until then it is a `.part` file, from which a later run goes on where the
download broke off. One process fetches at a time, others wait for it and find its files. A second run needs no network.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftlog_infra.errors import FetchFailed
from driftlog_infra.pins import Artifact, checksum, pinned
from driftlog_infra.unpacking import unpack
from driftlog_schemas.home import home


def cache_dir() -> Path:
    """Where server files are kept: DRIFTLOG_CACHE, else the user's cache folder."""
    if own := os.environ.get("DRIFTLOG_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "driftlog"


def fetch(server: str, *, quiet: bool = False) -> list[Path]:
    """The local paths of a server's files, each with its pinned checksum, downloading what the cache lacks.

    Raises:
        FetchFailed: no network and not cached, the disk is full, or a file is not the pinned one.
    """
    with _only_fetcher(server) as folder:
        return _fetch_into(folder, pinned(server), quiet=quiet)


def fetch_unpacked(server: str, *, quiet: bool = False) -> Path:
    """The folder of a server that comes as one archive, unpacked whole; the archive itself is not kept. Raises `FetchFailed`."""
    if len(archives := pinned(server)) != 1:
        raise FetchFailed(f"there is no {server} to be had", "use a server that runs already")
    (archive,) = archives
    with _only_fetcher(server) as folder:
        target = folder / archive.sha256[:16]
        if not target.exists():
            draft = folder / "unpacking"
            shutil.rmtree(draft, ignore_errors=True)
            (packed,) = _fetch_into(folder, [archive], quiet=quiet)
            try:
                unpack(packed, draft)
            except OSError as error:
                raise FetchFailed(f"cannot unpack {packed.name}: {error}", f"free space in {folder}") from error
            draft.rename(target)
            packed.unlink()
        return target


@contextmanager
def _only_fetcher(server: str) -> Iterator[Path]:
    folder = cache_dir() / server
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise FetchFailed(f"cannot write to the cache: {error}", "set DRIFTLOG_CACHE to a folder of yours") from error
    with lock:  # closing gives the flock back; a process that dies gives it back too
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _fetch_into(folder: Path, wanted: list[Artifact], *, quiet: bool) -> list[Path]:
    missing = [a for a in wanted if not _is_there(folder / a.name, a)]
    if missing:
        from driftlog_infra.download import download_all  # the network's libraries, only when they are needed

        download_all(missing, folder, quiet=quiet)
    return [folder / a.name for a in wanted]


def _is_there(path: Path, artifact: Artifact) -> bool:
    return path.exists() and path.stat().st_size == artifact.size and checksum(path) == artifact.sha256
