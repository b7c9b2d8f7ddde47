"""The laws hold in every simulated world.

`--seeds N` lives through N worlds instead of 200, `--seed S` through just that one.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.replay import explain, verdict

CHUNK = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        only = metafunc.config.getoption("--seed")
        last = metafunc.config.getoption("--seeds")
        chunks = [range(at, min(at + CHUNK, last)) for at in range(0, last, CHUNK)] if only is None else [[only]]
        metafunc.parametrize("seeds", chunks, ids=[f"{chunk[0]}-{chunk[-1]}" for chunk in chunks])


@pytest.mark.slow
def test_every_world_is_lawful(seeds: range, pool: ProcessPoolExecutor) -> None:
    judged = zip(seeds, pool.map(verdict, seeds), strict=True)

    broken = [explain(seed, violations) for seed, violations in judged if violations]

    assert not broken, "\n".join(broken)
