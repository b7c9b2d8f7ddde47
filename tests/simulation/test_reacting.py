"""Worlds in which something reacts: each reaction has its effect exactly once, whichever worker dies when, and often enough for that to mean something."""

from __future__ import annotations

import pytest

from driftlog_schemas.partitioning import partition_of
from tests.simulation.app import EDGES, PARTITIONS
from tests.simulation.conftest import Live
from tests.simulation.reacting import COUNTED_IN, TWICE, lived, missing

FEW, WORLDS, FULL = 2, 5, 20
WITHIN = 4
"""Worlds in which the planted bug must show."""


def test_every_scope_is_counted_in_another_partition() -> None:
    assert COUNTED_IN.keys() == {scope for scopes in EDGES.values() for scope in scopes}
    assert all(partition_of(a, PARTITIONS) != partition_of(b, PARTITIONS) for a, b in COUNTED_IN.items())


@pytest.mark.slow
@pytest.mark.deepens
def test_in_every_world_each_reaction_has_its_effect_once(full: bool, deep: bool, live: Live) -> None:
    wrong, met = live(lived, range(FULL if full else WORLDS if deep else FEW))
    assert wrong == {}
    assert not deep or missing(met) == [], met


@pytest.mark.slow
def test_a_call_that_counts_twice_is_found() -> None:
    assert any(lived(seed, TWICE)[0] for seed in range(WITHIN)), f"not found in {WITHIN} worlds"
