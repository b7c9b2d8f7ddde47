"""Who watches an agent that starts again is told what it has missed, or that it must read again; never nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.asking.watch import Change
from driftlog_edge.errors import DiskFull
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import CONTRACT
from tests.unit.edge.test_returning import STATE, made_anew
from tests.unit.edge.waiting import online, until

pytestmark = pytest.mark.usefixtures("quick_ticks")
TEA, COFFEE = DocumentId("Stock", "s1", "tea"), DocumentId("Stock", "s1", "coffee")


@pytest.fixture
def starts(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> Callable[..., EdgeAgent]:
    """Starts of one agent, with other scopes or another release."""

    def start(*scopes: str, contract: AppContract = CONTRACT) -> EdgeAgent:
        settings = config.model_copy(update={"scopes": list(scopes or ("s1", "s2"))})
        return EdgeAgent(contract, settings, route=route, ids=ids)

    return start


async def receive(agent: EdgeAgent, sku: str, store: str = "s1") -> None:
    await agent.run("receive", store=store, sku=sku, qty=1)


async def missed(agent: EdgeAgent, last_id: str) -> list[DocumentId | None]:
    return [change.document async for change in agent.watch(last_id=last_id, seconds=0.0)]


async def test_own_writes_and_what_the_cloud_has_sent_are_told_over_starts(
    starts: Callable[..., EdgeAgent], cloud: Cloud
) -> None:
    async with starts() as agent:
        await online(agent)
        since = agent.watchers.now
        await agent.offline()
        await receive(agent, "tea")
    cloud.write(COFFEE, "on_hand", "increment", 3)
    async with starts() as agent:
        assert await missed(agent, since) == [TEA]
        await agent.online()
        await until(lambda: _knows(agent, "coffee"))
    async with starts() as agent:
        found = await missed(agent, since)
        assert found[0] == TEA and COFFEE in found and None not in found
        assert await missed(agent, agent.watchers.now) == []


async def _knows(agent: EdgeAgent, sku: str) -> bool:
    return sku in [id for id, _ in await agent.page("Stock", "s1")]


async def test_a_replica_that_was_read_anew_says_so_also_after_a_start(
    starts: Callable[..., EdgeAgent], cloud: Cloud
) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    async with starts() as agent:
        await online(agent)
        await until(lambda: _knows(agent, "tea"))
        since = agent.watchers.now
    made_anew(cloud, STATE)
    cloud.write(COFFEE, "on_hand", "increment", 3)
    async with starts() as agent:
        await until(lambda: _knows(agent, "coffee"))
    async with starts() as agent:
        assert None in await missed(agent, since)


async def test_a_scope_that_is_left_while_it_runs_or_at_a_start_is_told(starts: Callable[..., EdgeAgent]) -> None:
    async with starts() as agent:
        await online(agent)
        since = agent.watchers.now
        await agent.hold(["s1", "s2", "s3"])
        assert await missed(agent, since) == [], "one more changes nothing that is there"
        await agent.hold(["s1", "s2"])
    async with starts() as agent:
        assert await missed(agent, since) == [None]
        since = agent.watchers.now
    async with starts("s1") as agent:
        assert await missed(agent, since) == [None]
        since = agent.watchers.now
    async with starts("s1") as agent:
        assert await missed(agent, since) == []


async def test_another_release_of_the_app_may_show_everything_otherwise(starts: Callable[..., EdgeAgent]) -> None:
    async with starts() as agent:
        since = agent.watchers.now
    commands = {name: command for name, command in CONTRACT.spaces["retail"].commands.items() if name != "receive"}
    other = replace(CONTRACT.spaces["retail"], commands=commands)
    async with starts(contract=replace(CONTRACT, spaces={**CONTRACT.spaces, "retail": other})) as agent:
        assert await missed(agent, since) == [None]


async def test_an_older_copy_of_the_folder_does_not_take_its_numbers_for_those_of_the_one_it_replaces(
    starts: Callable[..., EdgeAgent], config: EdgeConfig, tmp_path: Path
) -> None:
    async with starts() as agent:
        await agent.offline()
        await receive(agent, "tea")
        shared = agent.watchers.now
    shutil.copytree(config.data_dir, tmp_path / "older")
    async with starts() as agent:
        await receive(agent, "coffee")
        undone = agent.watchers.now
    shutil.rmtree(config.data_dir)
    shutil.copytree(tmp_path / "older", config.data_dir)
    async with starts() as agent:
        assert await missed(agent, undone) == [None], "of the future"
        for sku in ("oat", "rye"):
            await receive(agent, sku)
            assert await missed(agent, undone) == [None], "its number is given again"
        assert await missed(agent, shared) == [DocumentId("Stock", "s1", "oat"), DocumentId("Stock", "s1", "rye")]


async def test_what_the_disk_did_not_take_is_never_told(
    starts: Callable[..., EdgeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with starts() as agent:
        await agent.offline()
        watch: AsyncIterator[Change] = agent.watch(seconds=60)
        heard = asyncio.ensure_future(anext(watch))
        with monkeypatch.context() as full:
            full.setattr(RocksStore, "write", _refuses)
            with pytest.raises(DiskFull):
                await receive(agent, "tea")
        since = agent.watchers.now
        await receive(agent, "coffee")
        assert (await heard).document == COFFEE
    async with starts() as agent:
        assert await missed(agent, since) == [COFFEE]


def _refuses(*args: object, **named: object) -> None:
    raise DiskFull("no space left", "free some")
