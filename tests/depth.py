"""How deep a run goes: `make test` leaves out the tests marked `deep`, `make deeper` takes those alone.

Tests marked `deepens` run in both: in `make test` they live through fewer worlds or draw fewer examples (the fixture `deep` tells them).
A run without `--depth` takes whatever it is told to in its whole depth, so who names a file or a test has all of it.
"""

from __future__ import annotations

from typing import Any

import pytest

MARK, BOTH = "deep", "deepens"
USUAL, DEEP, ALL = "usual", "deep", "all"
CHOICES = (USUAL, DEEP, ALL)
_LEFT_OUT = "left_out_by_depth"


class Depth:
    """Takes the tests of a depth, and says at the end how many it has left out."""

    def __init__(self, chosen: str) -> None:
        self._chosen = chosen
        self._left_out = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self._chosen == ALL:
            return
        taken: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            deep, both = (item.get_closest_marker(mark) is not None for mark in (MARK, BOTH))
            (taken if both or deep == (self._chosen == DEEP) else others).append(item)
        items[:] = taken
        self._left_out = len(others)
        config.hook.pytest_deselected(items=others)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A process of several says it to the one that prints."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_LEFT_OUT] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """All of them have collected the same; one that crashed says nothing."""
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get(_LEFT_OUT, 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._chosen == USUAL and self._left_out:
            terminalreporter.write_line(f"{self._left_out} deep tests were left out; `make deeper` runs them.")
