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
KNOWN = {
    51: "three copies of one folder write on, and a delete with update-wins that came along into a new life no longer names what it took from a list",
}
"""Worlds that are known to break a law, and how it comes about as far as that is known. They are lived through apart: a mend shows at once."""


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
    lawful = [seed for seed in seeds if seed not in KNOWN or len(seeds) == 1]
    for seed, (violations, situations) in zip(lawful, pool.map(lived, lawful), strict=True):
        met.update(situations)
        met[LIVED] += 1
        if violations:
            broken.append(explain(seed, violations))

    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="known, and not mended yet")
@pytest.mark.parametrize("seed", KNOWN)
def test_what_is_known_to_be_broken_is_mended(seed: int) -> None:
    violations, _ = lived(seed)
    assert not violations, explain(seed, violations)


@pytest.mark.slow
def test_the_worlds_met_what_can_happen(met: Counter[str]) -> None:
    print(coverage.table(met))  # noqa: T201  # the report of what was covered
    if met[LIVED] < USUAL:
        pytest.skip(f"{met[LIVED]} worlds were lived through; what {USUAL} must have met is known")

    assert coverage.missing(met, met[LIVED]) == [], coverage.table(met)
