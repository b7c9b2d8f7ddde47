"""An agent that is started on a disk that is really full: it serves what it has, or says in words why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotReadable
from driftlog_edge.store import budget
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.small_disk import fill, small_disk
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import Ledger, Stock, app
from tests.unit.edge.test_scopes import lives, read_all, there, without
from tests.unit.edge.waiting import until

__all__ = ["lives", "small_disk"]
pytestmark = pytest.mark.usefixtures("quick_ticks")


@pytest.fixture
def config(small_disk: Path, tmp_path: Path, identity: Identity) -> EdgeConfig:
    """Its data on that disk."""
    identity.save(tmp_path / "identity.json")
    return EdgeConfig(data_dir=small_disk / "data", identity=tmp_path / "identity.json", scopes=["s1"])


async def test_it_starts_although_its_release_can_read_rows_that_the_last_one_could_not(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute, small_disk: Path
) -> None:
    cloud.write(DocumentId("Ledger", "s1", "today"), "sold", "increment", 3)
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    async with lives("s1", contract=without("Ledger")) as agent:
        await until(there(agent, Stock, "s1"))
        await read_all(agent)
    route.cut()
    fill(small_disk / "others")
    async with lives("s1") as agent:
        assert "no space left" in agent.status()["problem"]
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
        with pytest.raises(NotReadable):
            await agent.read(Ledger, "s1", "today")
    (small_disk / "others").unlink()
    async with lives("s1") as agent:
        assert (await agent.read(Ledger, "s1", "today")).value["sold"] == 3


async def test_a_folder_that_was_given_to_another_device_says_that_it_needs_room(
    lives: Callable[..., EdgeAgent], small_disk: Path, config: EdgeConfig, identity: Identity
) -> None:
    async with lives("s1") as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
    fill(small_disk / "others")
    Identity.create("store-9").save(config.identity)
    with pytest.raises(DiskFull, match="no space left"):
        await lives("s1").__aenter__()
    identity.save(config.identity)
    async with lives("s1") as agent:
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5


async def test_what_fills_up_while_it_runs_does_not_keep_it_from_ending(
    lives: Callable[..., EdgeAgent], small_disk: Path
) -> None:
    async with lives("s1") as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
        fill(small_disk / "others")
        with pytest.raises(DiskFull):
            while True:  # the first ones may find room that the store had taken before
                await agent.run("rename", store="s1", sku="tea", name="x" * 1_000)
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5
    async with lives("s1") as agent:
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5


async def taken(agent: EdgeAgent) -> bool:
    """Does it take a command on what is evicted?"""
    try:
        return (await agent.run("receive", store="s1", sku="oat", qty=1)).result == 4
    except DiskFull:
        return False


async def test_with_a_budget_a_full_disk_refuses_writes_reads_on_and_recovers_by_itself(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for sku in ("tea", "oat"):
        cloud.write(DocumentId("Stock", "s1", sku), "on_hand", "increment", 3)
    monkeypatch.setattr(budget, "FULL", 0.0)
    monkeypatch.setattr(budget, "WARNED", 0.0)
    monkeypatch.setattr(budget, "GOAL", -100.0)
    monkeypatch.setattr(budget, "GROWN", 0.0)
    monkeypatch.setattr(budget, "LOOK_SECONDS", 3600.0)
    small = config.model_copy(update={"disk_budget": 16 << 20})
    async with EdgeAgent(app, small, route=route, ids=ids) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        await agent._budget.room()
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
        fill(small_disk / "others")
        with pytest.raises(DiskFull):
            while True:  # the first ones may find room that the store had taken before
                await agent.run("rename", store="s1", sku="tea", name="x" * 1_000)
        await agent._budget.room()
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3, "what could not go is here"
        with pytest.raises(DiskFull):
            await agent.read(Stock, "s1", "oat")
        (small_disk / "others").unlink()
        await until(lambda: taken(agent))  # what was on its way to the full disk takes along what waits behind it
        await until(lambda: agent.status()["pending"] == 0)
        monkeypatch.setattr(budget, "AGAIN_SECONDS", 0.0)
        await agent._budget.room()
        assert agent.status()["scopes"]["s1"]["evicted"] == 2
        assert (await agent.read(Stock, "s1", "oat")).value["on_hand"] == 4
