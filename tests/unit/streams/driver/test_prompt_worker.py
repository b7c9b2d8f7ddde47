"""A worker that is told to stop ends at once while it owns nothing, and by Faust's own way while it does. One that Faust gives up says why."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import faust
import pytest
from aiokafka.errors import KafkaConnectionError

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


class Falling(FaustApp):
    """Its client cannot connect, or is lost after the start."""

    at_once = True

    async def on_start(self) -> None:
        if self.at_once:
            raise KafkaConnectionError("Unable to bootstrap")
        self.add_future(self._fall())

    async def on_started(self) -> None:
        return None

    async def _fall(self) -> None:
        raise KafkaConnectionError("the coordinator is gone")


@pytest.mark.parametrize(("at_once", "reason"), [(True, "Unable to bootstrap"), (False, "the coordinator is gone")])
def test_what_faust_gives_up_for_is_raised_and_no_bare_exit_code(at_once: bool, reason: str, tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app = Falling("falling", store="memory://", datadir=str(tmp_path), web_enabled=False, loop=loop)
    app.at_once = at_once
    said = io.StringIO()
    worker = PromptWorker(
        app,
        lambda: True,
        loglevel="CRITICAL",
        quiet=True,
        redirect_stdouts=False,
        loop=loop,
        stdout=said,
        stderr=sys.__stderr__,
    )
    with pytest.raises(KafkaConnectionError, match=reason):
        worker.work()
    assert said.getvalue() == "", "what is said there goes between the lines of the log"
