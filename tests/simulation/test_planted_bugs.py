"""A simulation that finds nothing proves nothing: bugs that are planted must be found, and only where they are planted.

The world in which a bug was seen last is tried first. Whatever changes the worlds may have moved it: then it is searched for, as in a full run, and
a warning at the end of the run says where it is now.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest

from tests.simulation.replay import explain, verdict
from tests.simulation.test_simulation import USUAL
from tests.simulation.variant import PLANTED, Variant

WITHIN = 60
"""Seeds in which every planted bug must show."""


@pytest.mark.slow
@pytest.mark.deepens
@pytest.mark.parametrize("planted", PLANTED, ids=lambda variant: variant.name)
def test_a_planted_bug_is_found_and_only_it(
    planted: Variant, pool: ProcessPoolExecutor, full: bool, deep: bool
) -> None:
    found = planted.shows if not full and verdict(planted.shows, planted) else searched(planted, pool)

    assert found is not None, f"{planted.name} was not found in {WITHIN} worlds"
    if not full and found != planted.shows:
        warnings.warn(f"{planted.name} has moved: searching takes a minute; write shows={found}", stacklevel=1)
    if not deep and found in range(USUAL):
        return  # whose honest world shows nothing (test_simulation.py)
    honest = verdict(found)
    assert not honest, explain(found, honest)


def searched(planted: Variant, pool: ProcessPoolExecutor) -> int | None:
    """The seed of the first world in which it shows."""
    worlds = {pool.submit(verdict, seed, planted): seed for seed in range(WITHIN)}
    found = next((worlds[world] for world in as_completed(worlds) if world.result()), None)
    for world in worlds:
        world.cancel()
    return found
