"""A worker keeps the stores of partitions that are not its own, and takes over what is missing only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest

from driftlog_streams.core.recovered import Recovered
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver import standby as following
from driftlog_streams.faust_driver.partition_store import PartitionStore
from tests.unit.streams.cloud import count, key, stock
from tests.unit.streams.driver.life import STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send


def held(life: Life, partition: int = 0) -> bytes | None:
    return life.host._opened(partition).get(key(stock()))


async def bystander(lives: Lives) -> Life:
    """A worker that owns another partition."""
    life = lives.start("bystander")
    await life.own(1)
    return life


async def test_a_take_over_reads_only_what_came_since_the_last_round(lives: Lives) -> None:
    owner, other = await merging(lives, "owner"), await bystander(lives)
    sell(lives, 1, 2)
    await owner.quiet()
    assert held(other) is None
    await other.host.standby(other.pump).follow()
    assert held(other) == lives.broker.read(STATES)[-1].value
    assert other.host.metrics.kept_up._value.get() == len(lives.broker.read(STATES))

    send(lives, "later", count(stock(), 5, 3))
    await owner.quiet()
    await owner.die()
    await other.own(0, 1)
    assert other.host._recovered[0].records == 1
    other.read()
    sell(lives, 4)
    await other.quiet()
    assert b'"on_hand":{"store-1.1":[20,0]}' in (lives.broker.read(STATES)[-1].value or b"")


async def test_what_is_ours_is_left_to_whom_it_is_merged_by(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    life = await bystander(lives)
    rounds: list[set[int]] = []
    recover = life.host._recovery.recover

    def noted(stores: Mapping[int, PartitionStore]) -> dict[int, Recovered]:
        rounds.append(set(stores))
        return recover(stores)

    monkeypatch.setattr(life.host._recovery, "recover", noted)
    await life.host.standby(life.pump).follow()
    assert rounds and set().union(*rounds) == set(range(life.host._rules.space.partitions)) - {1}
    await life.own(0)
    rounds.clear()
    await life.host.standby(life.pump).follow()
    assert set().union(*rounds) == set(range(life.host._rules.space.partitions)) - {0}


async def test_a_take_over_waits_for_the_round_and_opens_its_stores_anew(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = await merging(lives, "owner"), await bystander(lives)
    sell(lives, 1)
    await owner.quiet()
    await owner.die()
    recover, second = other.host._recovery.recover, threading.Event()
    inside: list[set[int]] = []

    def slow(stores: Mapping[int, PartitionStore]) -> dict[int, Recovered]:
        inside.append(set(stores))
        if len(inside) > 1:
            second.set()
        else:
            assert not second.wait(0.3), "nobody else fills stores meanwhile"
        return recover(stores)

    monkeypatch.setattr(other.host._recovery, "recover", slow)
    await asyncio.gather(other.host.standby(other.pump).follow(), other.own(0, 1))
    assert 0 in inside[0] and inside[1] == {0, 1}
    other.read()
    sell(lives, 2)
    await other.quiet()
    assert b'"on_hand":{"store-1.1":[10,0]}' in (lives.broker.read(STATES)[-1].value or b"")
    assert other.pump.open_stores()[0].mark == other.host._opened(0).mark


async def test_a_broker_that_is_away_ends_no_worker(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    life = await bystander(lives)
    standby = life.host.standby(life.pump)
    lives.broker.set_up(False)
    with pytest.raises(RecoveryFailed):
        await standby.follow()
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.0)
    task = asyncio.get_running_loop().create_task(standby.run())
    await asyncio.sleep(0)
    lives.broker.set_up(True)
    sell(lives, 1)
    owner = await merging(lives, "owner")
    await owner.quiet()
    await life.until(lambda: held(life) is not None)
    async with life.host._filling:
        task.cancel()
