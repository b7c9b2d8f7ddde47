"""Worlds in which devices lose every right for a while, so that nothing of what they send is seen."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.case import Case
from tests.simulation.coverage import covered
from tests.simulation.judge import broken
from tests.simulation.world import World

WORLDS = 6
AT_LEAST = {"a device was barred": 3, "nothing was seen of a command": 10}


class BarringWorld(World):
    """One of them."""

    bars = True


def lived(seed: int) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered."""
    case = Case(BarringWorld(seed).run())
    return [str(violation) for violation in broken(case)], covered(case)


@pytest.mark.slow
def test_every_world_that_bars_is_lawful(pool: ProcessPoolExecutor) -> None:
    met: Counter[str] = Counter()
    for seed, (facts, found) in enumerate(pool.map(lived, range(WORLDS))):
        assert facts == [], seed
        met.update(found)
    assert {name for name, least in AT_LEAST.items() if met[name] < least} == set(), met


@pytest.mark.slow
@pytest.mark.parametrize("seed", [134, 147])
def test_a_world_in_which_it_once_went_wrong(seed: int) -> None:
    """Half of a command was shown for a moment; two stayed parked for ever."""
    assert lived(seed)[0] == []
