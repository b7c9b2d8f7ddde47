"""The laws hold in every simulated world.

`--seeds N` lives through N worlds instead of 40 (200 with `--full`), `--seed S` through just that one.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation import coverage
from tests.simulation.replay import explain, lived

CHUNK = 20
USUAL = 40
"""Worlds of a run that is not a full one."""
LIVED = "worlds"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        only = metafunc.config.getoption("--seed")
        last = metafunc.config.getoption("--seeds") or (
            coverage.WORLDS if metafunc.config.getoption("--full") else USUAL
        )
        chunks = [range(at, min(at + CHUNK, last)) for at in range(0, last, CHUNK)] if only is None else [[only]]
        metafunc.parametrize("seeds", chunks, ids=[f"{chunk[0]}-{chunk[-1]}" for chunk in chunks])


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """What the worlds of this run have covered so far."""
    return Counter()


@pytest.mark.slow
def test_every_world_is_lawful(seeds: range, pool: ProcessPoolExecutor, met: Counter[str]) -> None:
    broken = []
    for seed, (violations, situations) in zip(seeds, pool.map(lived, seeds), strict=True):
        met.update(situations)
        met[LIVED] += 1
        if violations:
            broken.append(explain(seed, violations))

    assert not broken, "\n".join(broken)


@pytest.mark.slow
def test_the_worlds_met_what_can_happen(met: Counter[str]) -> None:
    print(coverage.table(met))  # noqa: T201  # the report of what was covered
    if met[LIVED] < USUAL:
        pytest.skip(f"{met[LIVED]} worlds were lived through; what {USUAL} must have met is known")

    assert coverage.missing(met, met[LIVED]) == [], coverage.table(met)
