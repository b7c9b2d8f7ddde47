"""An agent that is started on a disk that is really full: it serves what it has, or says in words why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotReadable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.signing import Identity
from tests.small_disk import fill, small_disk
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import Ledger, Stock
from tests.unit.edge.test_agent import quick_ticks
from tests.unit.edge.test_scopes import lives, read_all, there, without
from tests.unit.edge.waiting import until

__all__ = ["lives", "quick_ticks", "small_disk"]


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
