"""Libraries that another one imports wherever they are installed, and that we never use through it.

A process that runs for months on a small device keeps whatever was imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """While this lasts, importing one of these raises `ModuleNotFoundError`, as if it were not installed. One that is loaded already stays."""
    absent = [name for name in modules if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's own word for it
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
