"""Shared by the simulation's tests: quiet logs, and a pool of processes that live through worlds side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeAlias

import pytest
import structlog

from tests.simulation.replay import quiet_logs

Seeds: TypeAlias = Callable[[int, int], Sequence[int]]
Lived: TypeAlias = Callable[[int], tuple[Sequence[object], Counter[str]]]
"""Lives through the world of a seed: what is wrong with it, and what it has met."""
Live: TypeAlias = Callable[[Lived, Sequence[int]], tuple[dict[int, list[str]], Counter[str]]]


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


@pytest.fixture
def seeds(request: pytest.FixtureRequest, full: bool) -> Seeds:
    """Which worlds a test lives through: so `few`, or in a whole run so `many`; `--seeds N` asks for N, `--seed S` for just that one."""

    def chosen(few: int, many: int) -> Sequence[int]:
        only, count = request.config.getoption("--seed"), request.config.getoption("--seeds")
        return range(count or (many if full else few)) if only is None else [only]

    return chosen


@pytest.fixture
def live(pool: ProcessPoolExecutor) -> Live:
    """Lives through worlds; what is wrong with those that are not lawful, and what all of them have met."""

    def through(lived: Lived, seeds: Sequence[int]) -> tuple[dict[int, list[str]], Counter[str]]:
        wrong, met = {}, Counter[str]()
        for seed, (facts, found) in zip(seeds, pool.map(lived, seeds), strict=True):
            met.update(found)
            if facts:
                wrong[seed] = [str(fact) for fact in facts[:5]]
        return wrong, met

    return through
