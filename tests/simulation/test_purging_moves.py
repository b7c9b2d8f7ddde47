"""What was purged before a space moves, meanwhile or behind that stays gone, and what is made again is what was written since.

`--seeds N` lives through N worlds, `--seed S` through just that one.
"""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Live, Seeds
from tests.simulation.purging_moves import PLANTED, lived, missing
from tests.simulation.variant import Variant

FEW, WORLDS, FULL = 2, 6, 20


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_that_forgets_and_moves_is_what_its_logs_say(seeds: Seeds, live: Live, deep: bool) -> None:
    worlds = seeds(WORLDS if deep else FEW, FULL)
    wrong, met = live(lived, worlds)
    assert wrong == {}
    if len(worlds) >= WORLDS:
        assert missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda variant: variant.name)
def test_what_is_planted_among_purges_is_found(planted: Variant) -> None:
    """Where the honest world shows nothing (above)."""
    assert planted.shows < WORLDS
    assert lived(planted.shows, planted)[0], f"{planted.name} was not found in the world of seed {planted.shows}"
