"""A space that is given another number of partitions in mid-life keeps every promise over both logs, whatever goes wrong meanwhile.

`--seeds N` lives through N worlds, `--seed S` through just that one.
"""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Live, Seeds
from tests.simulation.moving import PLANTED, lived, missing
from tests.simulation.variant import Variant

FEW, WORLDS, FULL = 4, 10, 60


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_whose_space_moves_is_lawful(seeds: Seeds, live: Live, deep: bool) -> None:
    worlds = seeds(WORLDS if deep else FEW, FULL)
    wrong, met = live(lived, worlds)
    assert wrong == {}
    if len(worlds) >= WORLDS:
        assert missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda variant: variant.name)
def test_what_is_planted_in_a_move_is_found(planted: Variant) -> None:
    """Where the honest world shows nothing (above)."""
    assert planted.shows < WORLDS
    assert lived(planted.shows, planted)[0], f"{planted.name} was not found in the world of seed {planted.shows}"
