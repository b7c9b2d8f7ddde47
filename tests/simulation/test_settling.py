"""Worlds in which deadlines pass are what their log says, byte for byte, and end conflicts often enough for that to mean something."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.settling import lived, missing

WORLDS, FULL = 3, 10
AT_MOST = 40
"""A person seldom decides in the moment in which a deadline passes: so many worlds are lived until one has met it."""


@pytest.mark.slow
def test_every_world_with_deadlines_is_what_its_log_says(pool: ProcessPoolExecutor, full: bool) -> None:
    met: Counter[str] = Counter()
    wrong = {}
    lived_through = 0
    while lived_through < (FULL if full else WORLDS) or (missing(met) and lived_through < AT_MOST):
        worlds = range(lived_through + 1, lived_through + WORLDS + 1)
        for seed, (facts, found) in zip(worlds, pool.map(lived, worlds), strict=True):
            met.update(found)
            if facts:
                wrong[seed] = facts[:5]
        lived_through += WORLDS
    assert wrong == {}
    assert missing(met) == [], met
