"""Worlds whose chain rows are full after a few batches: whether one finds room is a matter of the log, and not of how much was committed when it came."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from unittest.mock import patch

import pytest

from driftlog_schemas import row_room
from tests.simulation.judge import Violation
from tests.simulation.replay import verdict
from tests.simulation.variant import HONEST, Variant

ENTRIES = 5
PLANTED = Variant(
    "what is not committed takes the room", planted=(("driftlog_streams.core.chain._ALL_COMMITTED", 0),), shows=1
)
FEW, WORLDS = 3, 12


def lived(seed: int, variant: Variant = HONEST) -> list[Violation]:
    """The laws that a world with small rows breaks; who judges knows of them."""
    with patch.object(row_room, "MAX_ENTRIES", ENTRIES):
        return verdict(seed, variant)


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_with_small_rows_is_lawful(pool: ProcessPoolExecutor, deep: bool) -> None:
    worlds = range(WORLDS if deep else FEW)
    found = pool.map(lived, worlds)
    assert {seed: facts[:5] for seed, facts in zip(worlds, found, strict=True) if facts} == {}


@pytest.mark.slow
def test_a_row_whose_room_hangs_on_the_commits_is_found() -> None:
    """Where the honest world shows nothing (above)."""
    assert PLANTED.shows < FEW
    assert lived(PLANTED.shows, PLANTED)
