"""A file with a private key in it: JSON that only its owner may read, whole or not there.

Whatever is wrong with one is told with its name and the way out. It is written beside its place and renamed, so that a full disk or a
power cut leaves the old one or none.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.errors import IdentityProblem


def save(path: Path, what: str, facts: Mapping[str, Any]) -> None:
    """Raises `IdentityProblem`. `what` names the kind of file: "identity file"."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
        try:
            with os.fdopen(fd, "w") as out:
                json.dump(facts, out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            Path(temp).replace(path)
            sync_folder(path.parent)
        except OSError:
            Path(temp).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise IdentityProblem(f"{what} {path} cannot be written: {error.strerror}", "choose another file") from error


def sync_folder(folder: Path) -> None:
    """What was made, renamed or deleted in it is so after a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def overwrite(fd: int) -> None:
    """Zeros in the place of what an open file holds, on the disk, and then nothing. Flash may keep the old blocks all the same."""
    os.pwrite(fd, bytes(os.fstat(fd).st_size), 0)
    os.fsync(fd)
    os.ftruncate(fd, 0)
    os.fsync(fd)


def load(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """What is in it. Raises `IdentityProblem`; `remedy` says how to come by a good one."""
    try:
        facts = json.loads(path.read_text())
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise IdentityProblem(f"{what} {path} does not exist", remedy) from error
    except OSError as error:
        raise IdentityProblem(
            f"{what} {path} cannot be read: {error.strerror}", "run as its owner, or name another file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise foreign(path, what, str(error), remedy) from error
    if mode & stat.S_IROTH:
        raise IdentityProblem(f"{what} {path} can be read by every user", f"chmod 600 {path}")
    if not isinstance(facts, dict):
        raise foreign(path, what, "it holds no JSON object", remedy)
    return facts


def foreign(path: Path, what: str, why: str, remedy: str) -> IdentityProblem:
    """The error for a file that is something else."""
    article = "an" if what[0] in "aeiou" else "a"
    return IdentityProblem(f"{path} is not {article} {what}: {why}", remedy)


def text(facts: Mapping[str, Any], name: str) -> str:
    """A fact that is text and not empty. Raises ValueError."""
    value = facts.get(name)
    if type(value) is not str or not value:
        raise ValueError(f"{name} is missing" if value is None else f"{name} is no text")
    return value


def private_key(facts: Mapping[str, Any], name: str = "private_key") -> Ed25519PrivateKey:
    """A fact that is a private key. Raises ValueError."""
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text(facts, name), validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def key_fact(key: Ed25519PrivateKey) -> str:
    """A private key as a fact."""
    return base64.b64encode(key.private_bytes_raw()).decode()
