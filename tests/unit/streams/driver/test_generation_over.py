"""A worker ends when another generation of the read model is put in force for workers, so that its next life begins in that one."""

from __future__ import annotations

import pytest

from driftlog_schemas.generations import InForce
from driftlog_schemas.moves import Moved
from driftlog_streams.errors import GenerationOver
from driftlog_streams.faust_driver import host
from tests.unit.streams.driver.life import STATES, Lives
from tests.unit.streams.driver.test_flights import merging, sell


async def test_a_worker_ends_when_workers_are_to_merge_another_generation(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "BEAT_SECONDS", 0.01)
    life = await merging(lives)
    life.directory.in_force = InForce(1, 2)  # where readers are is nothing to it
    sell(lives, 1)
    await life.quiet()
    assert len(lives.broker.read(STATES)) == 1 and not life.died
    life.directory.in_force = InForce(2, 1)
    await life.until(lambda: bool(life.died))
    (reason,) = life.died
    assert isinstance(reason, GenerationOver) and "generation 2 of retail in force, after 1" in str(reason)


async def test_a_worker_ends_when_its_space_goes_on_in_other_topics(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "BEAT_SECONDS", 0.01)
    life = await merging(lives)
    life.directory.elsewhere = Moved(2, 7, 9, (0,))
    await life.until(lambda: bool(life.died))
    (reason,) = life.died
    assert isinstance(reason, GenerationOver) and "retail goes on with 7 partitions" in str(reason)
