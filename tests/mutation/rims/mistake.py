"""A mistake that a hand could make: a text in a file and another in its place, and the tests that must notice.

`tests/mutation/test_rim_mistakes.py` says in every run whether the text is still there; whoever changes such a line changes the
mistake with it, and runs `make mistakes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]


class Mistake(NamedTuple):
    """One of them."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.file

    @property
    def module(self) -> str:
        return ".".join(Path(*Path(self.file).parts[1:]).with_suffix("").parts)

    def source(self) -> str:
        """The module with the mistake in it."""
        return self.path.read_text().replace(self.old, self.new)


DRIVER = "streams/driftlog_streams/faust_driver"
READING = "streams/driftlog_streams/reading"
PROJECTIONS = "streams/driftlog_streams/projections"
CORE = "streams/driftlog_streams/core"
EDGE = "edge_agents/driftlog_edge"
SCHEMAS = "schemas/driftlog_schemas"
REGISTRY = "streams/driftlog_streams/registry"
