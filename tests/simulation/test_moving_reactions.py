"""Each reaction has its effect exactly once in a space that is given another number of partitions, whichever worker dies and wherever the command is cut off."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Live, Seeds
from tests.simulation.moving_reactions import PLANTED, lived, missing
from tests.simulation.variant import Variant

FEW, WORLDS, FULL = 4, 20, 40


@pytest.mark.slow
@pytest.mark.deepens
def test_in_every_world_each_reaction_has_its_effect_once(seeds: Seeds, live: Live, deep: bool) -> None:
    worlds = seeds(WORLDS if deep else FEW, FULL)
    wrong, met = live(lived, worlds)
    assert wrong == {}
    if len(worlds) >= WORLDS:
        assert missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda variant: variant.name)
def test_what_is_planted_among_calls_is_found(planted: Variant) -> None:
    """Where the honest world shows nothing (above)."""
    assert planted.shows < WORLDS
    assert lived(planted.shows, planted)[0], f"{planted.name} was not found in the world of seed {planted.shows}"
