"""Small databases in the console's folder, which nobody but its user may read."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def opened(path: Path, script: str, *, autocommit: bool = False, any_thread: bool = False) -> sqlite3.Connection:
    """The database in this file, made with its folder where there is none, after this script.

    `autocommit`  each statement is a transaction unless one is begun
    `any_thread`  threads use it one after another

    Raises OSError and sqlite3.Error.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    db = sqlite3.connect(path, isolation_level=None if autocommit else "DEFERRED", check_same_thread=not any_thread)
    db.executescript(script)
    return db
