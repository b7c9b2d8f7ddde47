"""A space that is given another number of partitions in mid-life keeps every promise over both logs, whatever goes wrong meanwhile.

`--seeds N` lives through N worlds, `--seed S` through just that one.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.moving import PLANTED, lived, missing
from tests.simulation.variant import Variant

WORLDS, FULL = 10, 60


@pytest.mark.slow
def test_every_world_whose_space_moves_is_lawful(
    pool: ProcessPoolExecutor, full: bool, request: pytest.FixtureRequest
) -> None:
    only, count = request.config.getoption("--seed"), request.config.getoption("--seeds")
    worlds = range(count or (FULL if full else WORLDS)) if only is None else [only]
    met: Counter[str] = Counter()
    wrong = {}
    for seed, (violations, found) in zip(worlds, pool.map(lived, worlds), strict=True):
        met.update(found)
        if violations:
            wrong[seed] = [str(violation) for violation in violations[:5]]
    assert wrong == {}
    if len(worlds) >= WORLDS:
        assert missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda variant: variant.name)
def test_what_is_planted_in_a_move_is_found(planted: Variant) -> None:
    """Where the honest world shows nothing (above)."""
    assert planted.shows < WORLDS
    assert lived(planted.shows, planted)[0], f"{planted.name} was not found in the world of seed {planted.shows}"
