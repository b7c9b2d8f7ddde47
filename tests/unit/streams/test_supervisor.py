"""Who is started again, and when that is given up: never for what the surroundings do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_infra.ports import free_port
from driftlog_streams.errors import SetupProblem
from driftlog_streams.process import supervisor, surroundings
from driftlog_streams.process.supervisor import MAX_FAILURES, ChildPlan, Supervisor
from driftlog_streams.settings import WorkerSettings


class Ended:
    """A process that ended at once."""

    def poll(self) -> int:
        return 70


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.0)


def starts(told: Callable[[int], str]) -> int:
    """How often a worker that always fails is started; `told` says what is wrong at its n-th end."""
    count = 0

    def start(plan: ChildPlan) -> Any:
        nonlocal count
        count += 1
        return Ended()

    plan = ChildPlan("retail", "a", WorkerSettings.load(app="shop:app"))
    run = Supervisor([plan], start, lambda settings: told(count))
    assert run.run() == 1
    return count


def test_a_worker_that_always_fails_is_given_up() -> None:
    assert starts(lambda end: "") == MAX_FAILURES


def test_what_fails_during_an_outage_counts_nothing() -> None:
    assert starts(lambda end: "no broker answers" if end <= 100 else "") == 100 + MAX_FAILURES


def test_who_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "PROBE_SECONDS", 0.2)
    settings = WorkerSettings.load(app="shop:app", data_dir=tmp_path, bootstrap=f"127.0.0.1:{free_port()}")
    assert surroundings.trouble(settings) == f"no broker answers at {settings.kafka.bootstrap}"
    monkeypatch.setattr(surroundings, "TopicsAdmin", lambda *_, **__: SimpleNamespace(partition_counts=dict))
    settings = settings.model_copy(
        update={"registry": settings.registry.model_copy(update={"url": f"http://127.0.0.1:{free_port()}/api"})}
    )
    assert surroundings.trouble(settings) == f"no registry answers at {settings.registry.url}"


def test_a_full_disk_is_told_before_a_worker_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    settings = WorkerSettings.load(app="shop:app", data_dir=tmp_path)
    assert surroundings.trouble(settings) == f"the disk of {tmp_path} is full"
    with pytest.raises(SetupProblem, match="MiB are free") as refused:
        surroundings.require_room(tmp_path)
    assert "make room" in refused.value.remedy
