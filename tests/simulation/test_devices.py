"""The laws hold where devices are small or away for too long, and often enough for that to mean something; what is planted there is found."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from types import ModuleType

import pytest

from tests.simulation import away, one_way, small_disks
from tests.simulation.variant import Variant

KINDS = (small_disks, away, one_way)
FEW, WORLDS, FULL = 2, 3, 30
AT_MOST = 30
"""Some worlds are calm: so many are lived through until all was met, which a few need not."""
WITHIN = 20
"""Seeds in which every planted bug must show."""


def _name(value: ModuleType | Variant) -> str:
    return value.name if isinstance(value, Variant) else value.__name__.rpartition(".")[2]


@pytest.mark.slow
@pytest.mark.deepens
@pytest.mark.parametrize("kind", KINDS, ids=_name)
def test_every_world_of_such_devices_is_lawful(
    kind: ModuleType, pool: ProcessPoolExecutor, full: bool, deep: bool
) -> None:
    met: Counter[str] = Counter()
    wrong = {}
    lived_through = 0
    step = WORLDS if deep else FEW
    while lived_through < (FULL if full else step) or (deep and kind.missing(met) and lived_through < AT_MOST):
        worlds = range(lived_through, lived_through + step)
        for seed, (violations, found) in zip(worlds, pool.map(kind.lived, worlds), strict=True):
            met.update(found)
            if violations:
                wrong[seed] = violations[:5]
        lived_through += step
    assert wrong == {}
    assert not deep or kind.missing(met) == [], met


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "planted"), [(kind, planted) for kind in KINDS for planted in kind.PLANTED], ids=_name
)
def test_what_is_planted_in_such_devices_is_found(kind: ModuleType, planted: Variant) -> None:
    seeds = [planted.shows, *range(WITHIN)]
    assert any(kind.lived(seed, planted)[0] for seed in seeds), f"{planted.name} was not found in {WITHIN} worlds"
