"""Folders for what a command builds to throw it away.

A command that is killed leaves its folder behind, as large as the read model. So each is locked while its command lives (`flock`, which goes with the
process), and the next command of the same kind removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger()


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A folder of one's own in the folder for temporary files; `kind` stands in its name. Raises OSError."""
    prefix = f"driftlog-{kind}-"
    _sweep(prefix)
    folder, held = _made(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _made(prefix: str) -> tuple[Path, int]:
    """The folder, and its lock. Raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        with suppress(FileNotFoundError, BlockingIOError):  # being swept away, before it was locked
            held = locked(folder)
            if folder.exists():
                return folder, held
            os.close(held)


def locked(folder: Path) -> int:
    """The lock of a folder, until it is closed. Raises OSError: somebody holds it, it is not ours, or it is gone."""
    found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(found).st_uid != os.geteuid():
            raise PermissionError(f"{folder} is somebody else's")
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(found)
        raise
    return found


def _sweep(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            held = locked(folder)
        except OSError:  # not to be touched
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
        log.info("what a killed command had left is removed", folder=str(folder))
