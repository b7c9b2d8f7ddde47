"""What changes the agent itself keeps the time that its caller gave, and ends in the old state or the new one, whoever waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, TimedOut
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute, _CloudFeed
from tests.unit.edge.shop import PARTITIONS, Stock, app
from tests.unit.edge.test_http import problem
from tests.unit.edge.waiting import online, until

pytestmark = pytest.mark.usefixtures("quick_ticks")

ELSEWHERE = next(f"n{i}" for i in range(100) if partition_of(f"n{i}", PARTITIONS) != partition_of("s1", PARTITIONS))
"""A scope that is not in the partition of s1."""


@contextmanager
def hanging_disk(monkeypatch: pytest.MonkeyPatch, *, full: bool = False) -> Iterator[Callable[[], None]]:
    """No sync returns until the disk goes on; then, where it is full, with an error."""
    go, write = threading.Event(), RocksStore.write

    def hanging(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        if sync:
            go.wait(60)
            if full:
                raise DiskFull("no space left", "free some")
        write(store, writes, sync=sync)

    with monkeypatch.context() as patched:
        patched.setattr(RocksStore, "write", hanging)
        try:
            yield go.set
        finally:
            go.set()


async def test_scopes_are_answered_for_in_time_although_the_disk_hangs_and_change_once_it_goes_on(
    agent: EdgeAgent, cloud: Cloud, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    with hanging_disk(monkeypatch) as go_on:
        late = problem(await http.put("/v1/scopes?timeout=50ms", json={"scopes": ["s1", "s3"]}), 504, "timeout")
        assert "the change of scopes is under way and goes on" in late["detail"]
        for _ in range(3):
            with pytest.raises(TimedOut, match="the change of scopes is still under way; nothing has changed"):
                await agent.hold(["s1", "s4"], seconds=0.05)
        with pytest.raises(TimedOut, match="nothing has changed"):
            await agent.offline(seconds=0.05)
        go_on()
        assert await agent.hold(["s1", "s3", "s5"], seconds=30) == ["s1", "s3", "s5"], "after the one before"
    await until(lambda: agent.status()["connection"] == "ONLINE")  # what had not begun is not done later
    answer = await agent.run("receive", store="s5", sku="tea", qty=1, wait="merged", seconds=10)
    assert answer.status == "merged"


async def test_a_change_that_the_disk_refuses_after_its_caller_has_gone_leaves_all_as_it_was(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    with hanging_disk(monkeypatch, full=True) as go_on:
        asked = asyncio.create_task(agent.hold([ELSEWHERE]))
        await until(lambda: agent.scopes() == [ELSEWHERE])
        asked.cancel()
        await asyncio.wait([asked])
        go_on()
        await until(lambda: agent.scopes() == ["s1", "s2"])
    await until(lambda: agent.status()["connection"] == "ONLINE")
    assert (await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)).status == "merged"


async def test_aeroplane_mode_keeps_its_time_where_the_disk_hangs_and_where_a_link_does_not_close(
    agent: EdgeAgent, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    with hanging_disk(monkeypatch) as go_on:
        late = problem(await http.post("/v1/offline?timeout=50ms", json={"offline": True}), 504, "timeout")
        assert "goes on" in late["detail"]
        assert agent.status()["connection"] == "ONLINE"
        go_on()
        await until(lambda: agent.status()["connection"] == "OFFLINE")
    await agent.online(seconds=30)
    await until(lambda: agent.status()["connection"] == "ONLINE")

    go, close = threading.Event(), _CloudFeed.close

    def reluctant(feed: _CloudFeed) -> None:
        go.wait(60)
        close(feed)

    monkeypatch.setattr(_CloudFeed, "close", reluctant)
    try:
        for said in ("goes on", "nothing has changed"):
            with pytest.raises(TimedOut, match=said):
                await agent.offline(seconds=0.05)
        with pytest.raises(TimedOut, match="nothing has changed"):
            await agent.hold(["s1"], seconds=0.05)
    finally:
        go.set()
    await agent.offline(seconds=30)
    assert agent._store.get(Family.META, keys.OFFLINE) is not None
    assert agent.scopes() == ["s1", "s2"]


async def test_an_agent_that_ends_in_the_middle_of_a_change_holds_the_new_scopes_when_it_starts(
    config: EdgeConfig, cloud: Cloud, route: CloudRoute, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = EdgeAgent(app, config, route=route, ids=ids)
    await agent.__aenter__()
    await online(agent)
    with hanging_disk(monkeypatch) as go_on:
        asked = asyncio.create_task(agent.hold(["s2", "s3"], seconds=30))
        await until(lambda: agent.scopes() == ["s2", "s3"])
        ending = asyncio.create_task(agent.__aexit__(None, None, None))
        with pytest.raises(TimedOut):
            await asked
        go_on()
        await ending
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert agent.scopes() == ["s2", "s3"]
        assert await agent.page(Stock, "s2") == []
