"""Worlds in which deadlines pass are what their log says, byte for byte, and end conflicts often enough for that to mean something."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.settling import lived, missing

WORLDS, FULL = (3, 5, 7), range(10)


@pytest.mark.slow
def test_every_world_with_deadlines_is_what_its_log_says(pool: ProcessPoolExecutor, full: bool) -> None:
    met: Counter[str] = Counter()
    wrong = {}
    worlds = FULL if full else WORLDS
    for seed, (facts, found) in zip(worlds, pool.map(lived, worlds), strict=True):
        met.update(found)
        if facts:
            wrong[seed] = facts[:5]
    assert wrong == {}
    assert missing(met) == [], met
