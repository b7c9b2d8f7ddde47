"""The first files of a Kafka data folder, kept from when Kafka made them for another one.

Kafka formats a folder with a program of its own: a whole start of Java for two small files, a third of what the start of a new broker costs. What it writes
depends on Kafka's files alone, but for the number of the node and an id of the folder that is drawn. So what the tool wrote once is kept beside Kafka's
files, and a new folder gets it with its own number and id. One that is damaged or of another Kafka is none: the tool is asked then, as without.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from pathlib import Path

from pydantic import Base64Bytes, BaseModel, ValidationError

from driftlog_infra.artifacts import cache_dir
from driftlog_infra.pins import pinned

META, BOOTSTRAP = "meta.properties", "bootstrap.checkpoint"
_OF_A_FOLDER = ("node.id", "directory.id")


class _Kept(BaseModel):
    properties: dict[str, str]
    """Kafka's mark, without what is a folder's own."""
    bootstrap: Base64Bytes
    """The features that a cluster begins with."""


def keep(server: str, folder: Path) -> None:
    """What Kafka has just written into this folder. Kept whole or not at all; nothing where it wrote other files than are known here."""
    if {path.name for path in folder.iterdir()} != {META, BOOTSTRAP}:
        return
    lines = (folder / META).read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    if not properties.keys() >= set(_OF_A_FOLDER):
        return
    shared = {name: value for name, value in properties.items() if name not in _OF_A_FOLDER}
    kept = _Kept(properties=shared, bootstrap=base64.b64encode((folder / BOOTSTRAP).read_bytes()))
    path = _path(server)
    draft = path.with_name(f"{path.stem}.{os.getpid()}.draft")
    try:
        draft.write_text(kept.model_dump_json())
        draft.rename(path)
    except OSError:  # the cache's disk is full, for one: the folder is formatted, and the next one asks Kafka again
        draft.unlink(missing_ok=True)


def lay(server: str, folder: Path, node: int) -> bool:
    """Make the folder, as Kafka would have formatted it for this node. False where nothing is kept for this Kafka."""
    try:
        kept = _Kept.model_validate_json(_path(server).read_bytes())
    except (FileNotFoundError, ValidationError):
        return False
    folder.mkdir(parents=True)
    own = {**kept.properties, "node.id": str(node), "directory.id": _drawn_id()}
    _write(folder / BOOTSTRAP, kept.bootstrap)
    _write(folder / META, "".join(f"{name}={value}\n" for name, value in sorted(own.items())).encode())
    return True


def _drawn_id() -> str:
    """As Kafka writes ids; it takes none that begins like an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _path(server: str) -> Path:
    good_for = "\n".join(artifact.sha256 for artifact in pinned(server))
    return cache_dir() / server / f"{hashlib.sha256(good_for.encode()).hexdigest()[:16]}.formatted"
