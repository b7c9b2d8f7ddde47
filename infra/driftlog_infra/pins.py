"""Which server files are wanted: their paths in a Maven repository, sizes and checksums, from the lock beside this file (no host in it)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("servers.lock.json")


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


def pinned(server: str) -> list[Artifact]:
    """The pinned files of `kafka`, `registry`, or PostgreSQL for one kind of machine; empty for what is not pinned."""
    return [a for a in (Artifact(**row) for row in json.loads(LOCK.read_text())) if a.server == server]


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
