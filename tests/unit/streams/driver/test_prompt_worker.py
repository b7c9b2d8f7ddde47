"""A worker that is told to stop ends at once while it owns nothing, and by Faust's own way while it does."""

from __future__ import annotations

from collections.abc import Iterator

import faust
import pytest

from driftlog_streams.faust_driver import overrides
from driftlog_streams.faust_driver.overrides import FaustApp, PromptWorker


class Left(Exception):
    pass


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which way out was taken."""
    taken: list[str] = []

    def leave() -> None:
        taken.append("at once")
        raise Left

    monkeypatch.setattr(overrides, "leave", leave)
    monkeypatch.setattr(faust.Worker, "_schedule_shutdown", lambda self, number: taken.append("drained"))
    yield taken


def test_what_it_owns_decides_at_the_moment_of_the_signal(ways: list[str]) -> None:
    owned: list[int] | None = None
    worker = PromptWorker(FaustApp("prompt", store="memory://"), lambda: owned is None, loglevel="WARNING")
    with pytest.raises(Left):
        worker._on_sigterm()
    with pytest.raises(Left):
        worker._on_sigint()
    owned = []
    worker._on_sigterm()
    assert ways == ["at once", "at once", "drained"]
