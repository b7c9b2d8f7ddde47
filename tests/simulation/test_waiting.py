"""The laws hold where commands wait on their devices for a moment, a network or power."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.operator import BARRED
from tests.simulation.waiting import REASONS, lived

FEW, WORLDS, FULL = 2, 4, 40
AT_LEAST = 12
"""So often, in the worlds of a run that are not few, a device lost all its rights."""


@pytest.mark.slow
@pytest.mark.deepens
def test_every_world_whose_commands_wait_is_lawful(pool: ProcessPoolExecutor, full: bool, deep: bool) -> None:
    met: Counter[str] = Counter()
    wrong = {}
    for seed, (violations, found) in enumerate(pool.map(lived, range(FULL if full else WORLDS if deep else FEW))):
        met.update(found)
        if violations:
            wrong[seed] = violations[:5]
    assert wrong == {}
    assert met.keys() >= REASONS and met[BARRED] >= (AT_LEAST if deep else 1)
