"""The same seed is the same world: on any machine, in any process, under any hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.world import simulate

ROOT = Path(__file__).parents[2]
SEEDS = (1, 2, 7)


@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.deep) for seed in SEEDS[1:])])
def test_same_seed_same_trace_in_another_process(seed: int) -> None:
    here = _trace(seed)

    there = _in_a_process(seed, hash_seed="12345")

    assert f"trace {here}" in there


def test_another_seed_is_another_world() -> None:
    assert _trace(1) != _trace(2)


@cache
def _trace(seed: int) -> str:
    """Of the world in this process, lived through once."""
    return simulate(seed).trace_hash


def _in_a_process(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.simulation.replay", str(seed), "--quiet"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    ).stdout
