"""Worlds in which deadlines pass are what their log says, byte for byte, and end conflicts often enough for that to mean something."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.settling import lived, missing

FEW, WORLDS, FULL = 1, 3, 10
AT_MOST = 40
"""A person seldom decides in the moment in which a deadline passes: so many worlds are lived until one has met it, which a few need not."""


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_with_deadlines_is_what_its_log_says(pool: ProcessPoolExecutor, full: bool, deep: bool) -> None:
    met: Counter[str] = Counter()
    wrong = {}
    lived_through = 0
    step = WORLDS if deep else FEW
    while lived_through < (FULL if full else step) or (deep and missing(met) and lived_through < AT_MOST):
        worlds = range(lived_through + 1, lived_through + step + 1)
        for seed, (facts, found) in zip(worlds, pool.map(lived, worlds), strict=True):
            met.update(found)
            if facts:
                wrong[seed] = facts[:5]
        lived_through += step
    assert wrong == {}
    assert not deep or missing(met) == [], met
