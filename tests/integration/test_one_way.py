"""Collections that go one way, over a real broker: who writes them, what a device keeps of them, and that both sides agree on the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog import EdgeAgent
from driftlog.testing.cluster import Cluster
from driftlog.testing.servers import RunningBroker
from driftlog_edge.errors import LetGo, NotHeld
from driftlog_edge.store import housekeeping
from driftlog_schemas.contract import OneWay
from driftlog_schemas.devices import PUBLISH
from tests.load import one_way

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]


async def until(done: Callable[[], bool], what: str, *agents: EdgeAgent) -> None:
    end = time.monotonic() + 90
    while not done():
        assert time.monotonic() < end, (what, [(one.status()["pending"], one.status()["scopes"]) for one in agents])
        await asyncio.sleep(0.1)


def in_step(agent: EdgeAgent) -> bool:
    """Has it nothing to send, and the same documents as the cloud says?"""
    (scope,) = agent.status()["scopes"].values()
    (digests,) = scope["digests"].values()
    return not agent.status()["pending"] and digests["digest"] == digests["cloud"]


async def day(cluster: Cluster) -> None:
    till = cluster.agent("till", scopes=["s1"])
    office = cluster.agent("office", scopes=["s1"], permissions=("*", PUBLISH))
    async with till, office:
        await until(lambda: (office.status()["registered"] or {}).get("permissions") == ["*", PUBLISH], "its own line")
        await office.run("say", store="s1", sku="tea", amount=5, wait="merged", seconds=60)
        price = await till.read("Price", "s1", "tea", consistency="strong", seconds=60)
        assert price.value["amount"] == 5
        with pytest.raises(OneWay):
            await till.run("say", store="s1", sku="tea", amount=1)
        till._executor._publishes = lambda: True  # an agent that lets anything pass
        forged = await till.run("say", store="s1", sku="tea", amount=1, wait="merged", seconds=60)
        assert (forged.status, forged.code) == ("rejected", "forbidden")
        assert "only comes down" in forged.reason
        sold = await till.run("sell", store="s1", sku="tea", wait="merged", seconds=60)
        assert (sold.status, sold.result) == ("merged", 5), "the refused price is nowhere"

        await till.run("sense", store="s1", name="heat", wait="merged", seconds=60)
        assert (await till.read("Reading", "s1", "heat")).value["times"] == 1
        await until(
            lambda: in_step(office) and in_step(till),
            "both agree with the cloud, whoever holds the reading",
            office,
            till,
        )
        with pytest.raises(NotHeld, match="what it has written itself"):
            await office.read("Reading", "s1", "heat", consistency="strong", seconds=60)
        await asyncio.sleep(1.1)  # what is declared: keep="1s"
        await till.run("sell", store="s1", sku="tea", wait="merged", seconds=60)
        await till.tidy()
        with pytest.raises(LetGo):
            await till.read("Reading", "s1", "heat")
        again = await till.run("sense", store="s1", name="heat", wait="merged", seconds=60)
        assert again.status == "merged"
        assert (await till.read("Reading", "s1", "heat", consistency="strong", seconds=60)).value["times"] == 2
        await until(lambda: in_step(office) and in_step(till), "and still do", office, till)
        assert office.status()["mismatches"] == till.status()["mismatches"] == 0


async def dispute(cluster: Cluster) -> None:
    """Two devices say different things of one sensor; neither has both sides, and who gathers decides."""
    tills = [cluster.agent(f"till-{number}", scopes=["s2"]) for number in (1, 2)]
    gatherer = cluster.agent("gatherer", scopes=["s2"], gathers=True)
    async with tills[0] as one, tills[1] as two, gatherer as office:
        await one.run("sense", store="s2", name="heat", unit="C", wait="merged", seconds=60)
        await two.run("sense", store="s2", name="heat", unit="F", wait="merged", seconds=60)
        await until(lambda: bool(office.conflicts()), "the conflict", one, two, office)
        (conflict,) = office.conflicts()
        reading = await office.read("Reading", "s2", "heat", consistency="strong", seconds=60)  # on another topic
        assert reading.value["times"] == 2
        assert one.conflicts() == two.conflicts() == []
        await office.resolve(conflict.id, {"unit": "C"})
        await until(lambda: not office.status()["pending"], "the decision is merged", office)
        for till in (one, two):
            await till.run("sense", store="s2", name="heat", wait="merged", seconds=60)
        for agent in (one, two, office):
            reading = await agent.read("Reading", "s2", "heat", consistency="strong", seconds=60)
            assert reading.value["unit"] == "C"
        await until(lambda: all(map(in_step, (one, two, office))), "all agree with the cloud", one, two, office)
        assert office.conflicts() == []


@pytest.fixture(autouse=True)
def lets_go_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by itself, once a minute, between a write and a look at it."""
    monkeypatch.setattr(housekeeping, "PASS_SECONDS", 3600.0)


def test_who_gathers_decides_what_no_device_can(apart: RunningBroker, registry_url: str, tmp_path: Path) -> None:
    with Cluster(one_way.app, apart.bootstrap, registry_url, tmp_path, ROOT) as cluster:
        asyncio.run(dispute(cluster))


def test_a_day_of_prices_and_readings(apart: RunningBroker, registry_url: str, tmp_path: Path) -> None:
    with Cluster(one_way.app, apart.bootstrap, registry_url, tmp_path, ROOT) as cluster:
        asyncio.run(day(cluster))
