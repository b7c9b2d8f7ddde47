"""Worlds that forget are what their log says, byte for byte, and forget enough for that to mean something."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.forgetting import lived, missing
from tests.simulation.variant import PLANTED_IN_FORGETTING, Variant

FEW, WORLDS, FULL = 2, 5, 10
WITHIN = 4
"""Worlds in which every planted bug must show."""


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_that_forgets_is_what_its_log_says(pool: ProcessPoolExecutor, full: bool, deep: bool) -> None:
    worlds = FULL if full else WORLDS if deep else FEW
    met: Counter[str] = Counter()
    wrong = {}
    for seed, (facts, found) in enumerate(pool.map(lived, range(worlds))):
        met.update(found)
        if facts:
            wrong[seed] = facts[:5]
    assert wrong == {}
    assert not deep or missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED_IN_FORGETTING, ids=lambda variant: variant.name)
def test_a_bug_in_forgetting_is_found(planted: Variant) -> None:
    """In the world that showed it last, or another of the first, where the honest ones show nothing (above)."""
    seeds = [planted.shows, *range(WITHIN)]
    assert any(lived(seed, planted)[0] for seed in seeds), f"not found in {WITHIN} worlds"
