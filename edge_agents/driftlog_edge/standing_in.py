"""What stands where the parts of an agent were, while there are none to ask: every answer is the error that says why."""

from __future__ import annotations

from collections.abc import Callable

from driftlog_edge.errors import EdgeError


class Absent:
    """Stands in for parts that are gone, for good or for a moment."""

    def __init__(self, reason: Callable[[], EdgeError]) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> object:
        raise self._reason()

    def __iter__(self) -> object:
        raise self._reason()
