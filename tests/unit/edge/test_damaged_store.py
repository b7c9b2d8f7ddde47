"""A folder whose files are damaged: it is served as far as it can be read, nothing is written to it, and it is said which file and what helps."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Offline, StoreDamaged
from driftlog_edge.http_api import build
from driftlog_edge.ports import Family
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.damaged import KNOWN, LATER, copied, cut, empty, flipped, followed_by, write_ahead_log
from tests.unit.edge.shop import Stock, app

ITEMS = [f"item-{number:03}" for number in range(150)]
STILL_READ = {
    "log, a byte in the middle",
    "log, missing",
    "table, cut",
    "table, missing",
    "table, empty",
    "table, its end",
}
NAMED = {"log": ".log", "table": ".sst", "manifest": "MANIFEST", "CURRENT": "CURRENT"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a kill leaves it: some in tables, some in the write-ahead log, all of it answered."""
    folder = tmp_path_factory.mktemp("live")
    asyncio.run(_lived(folder))
    return folder


async def _lived(folder: Path) -> None:
    identity, ids = Identity.create("store-1"), FixedIds()
    identity.save(folder / "identity.json")
    config = EdgeConfig(data_dir=folder / "held", identity=folder / "identity.json", scopes=["s1"])
    async with EdgeAgent(app, config, route=CloudRoute(Cloud(ids)), ids=ids) as agent:
        for sku in ITEMS[:100]:
            await agent.run("label", store="s1", prefix=sku, sizes=[900], wait="merged")
        agent._store.reclaim(Family)
        await agent.offline()
        for sku in ITEMS[100:]:
            await agent.run("label", store="s1", prefix=sku, sizes=[900])
        shutil.copytree(folder / "held", folder / "data")


@pytest.fixture
def damaged(live: Path, tmp_path: Path) -> Callable[..., EdgeAgent]:
    """An agent, not yet started, on the folder after some damage."""

    def make(damage: Callable[[Path], None]) -> EdgeAgent:
        folder = copied(live / "data", tmp_path / "data", damage)
        config = EdgeConfig(data_dir=folder, identity=live / "identity.json", scopes=["s1"])
        ids = FixedIds()
        route = CloudRoute(Cloud(ids))
        route.cut()
        return EdgeAgent(app, config, route=route, ids=ids)

    return make


@asynccontextmanager
async def api(agent: EdgeAgent) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as client:
        yield client


async def read(agent: EdgeAgent, number: int) -> str:
    reading = await agent.read(Stock, "s1", f"{ITEMS[number]}0")
    return str(reading.value["name"])


@pytest.mark.parametrize("name", sorted(KNOWN.keys() - STILL_READ))
async def test_what_cannot_be_opened_says_which_file_and_what_helps(
    damaged: Callable[..., EdgeAgent], name: str, tmp_path: Path
) -> None:
    agent = damaged(KNOWN[name])
    before = {path.name: path.stat().st_size for path in (tmp_path / "data").iterdir()}
    with pytest.raises(StoreDamaged, match=NAMED[name.partition(",")[0]]) as raised:
        await agent.__aenter__()
    assert "salvage" in raised.value.remedy
    after = {path.name: path.stat().st_size for path in (tmp_path / "data").iterdir()}
    for file, size in before.items():
        assert file.startswith("LOG") or after[file] == size, f"{file} was touched"


@pytest.mark.parametrize("name", sorted(STILL_READ))
async def test_what_can_be_read_is_served_and_nothing_is_written(damaged: Callable[..., EdgeAgent], name: str) -> None:
    async with damaged(KNOWN[name]) as agent:
        status = agent.status()
        assert NAMED[name.partition(",")[0]] in status["damaged"] or "write-ahead log" in status["damaged"]
        assert status["problem"] == status["damaged"]
        assert status["connection"] == "OFFLINE"
        with pytest.raises(StoreDamaged):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        with pytest.raises((Offline, StoreDamaged)):
            await agent.read(Stock, "s1", f"{ITEMS[0]}0", consistency="strong")
        for number in (3, 50, 99):
            try:
                assert await read(agent, number) == "x" * 900
            except StoreDamaged as error:
                assert "salvage" in error.remedy
        async with api(agent) as http:
            refused = await http.post("/v1/commands/receive", json={"store": "s1", "sku": "tea", "qty": 1})
            assert (refused.status_code, refused.json()["code"]) == (503, "store_damaged")
            assert "driftlog edge salvage" in refused.json()["remedy"]
            ready = await http.get("/readyz")
            assert ready.status_code == 503 and "damaged" in ready.text
            alive = await http.get("/healthz")
            assert alive.status_code == 200 and "driftlog edge salvage" in alive.text
            assert "driftlog_edge_store_damaged 1.0" in (await http.get("/metrics")).text


async def test_damage_that_is_met_on_the_way_ends_the_writing(damaged: Callable[..., EdgeAgent]) -> None:
    async with damaged(LATER["table, bytes in the middle"]) as agent:
        met = 0
        for number in range(150):
            try:
                assert await read(agent, number) == "x" * 900, (
                    "or it is said that it cannot be read: it is never not there"
                )
            except StoreDamaged:
                met += 1
        assert 0 < met < 20
        with pytest.raises(StoreDamaged, match=r"\.sst"):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        assert await read(agent, 149) == "x" * 900


async def test_a_list_ends_where_it_cannot_be_read_and_says_so(damaged: Callable[..., EdgeAgent]) -> None:
    async with damaged(LATER["table, bytes in the middle"]) as agent:
        with pytest.raises(StoreDamaged, match=r"\.sst"):
            await agent.page(Stock, "s1", 150)
        found = await agent.page(Stock, "s1", 10, after=f"{ITEMS[120]}0")
        assert [id for id, _ in found] == [f"{item}0" for item in ITEMS[121:131]]


@pytest.mark.parametrize(
    "damage",
    [
        cut(write_ahead_log, 0.7),
        flipped(write_ahead_log, 0.9999),
        empty(write_ahead_log),
        followed_by(write_ahead_log, bytes(3000)),
    ],
)
async def test_a_log_that_a_power_cut_has_left_is_no_damage(
    damaged: Callable[..., EdgeAgent], damage: Callable[[Path], None]
) -> None:
    async with damaged(damage) as agent:
        assert agent.status()["damaged"] == ""
        await agent.run("receive", store="s1", sku="tea", qty=1)
        assert await read(agent, 99) == "x" * 900
