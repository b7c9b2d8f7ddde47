"""Shared by the simulation's tests: quiet logs, and a pool of processes that live through worlds side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
import structlog

from tests.simulation.replay import quiet_logs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """As in every replay; other tests' logging stays as it was."""
    before = structlog.get_config()
    quiet_logs()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPoolExecutor]:
    """One process per core that is left to us. Worlds share nothing, so they may be lived through in any order."""
    context = multiprocessing.get_context("spawn")
    others = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with ProcessPoolExecutor(
        max(1, (os.cpu_count() or 1) // others), mp_context=context, initializer=quiet_logs
    ) as processes:
        yield processes
