"""What a read promises: strong, causal, or no older than asked; kept, or refused with the reason."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Offline, TimedOut
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import PARTITIONS, Stock, app
from tests.unit.edge.waiting import online, until

TEA = DocumentId("Stock", "s1", "tea")

pytestmark = pytest.mark.usefixtures("quick_ticks")


async def test_a_strong_read_has_what_the_cloud_had_when_it_was_asked(
    agent: EdgeAgent, cloud: Cloud, route: CloudRoute
) -> None:
    await online(agent)
    cloud.listeners.clear()  # the feed is not woken: only the barrier can know
    cloud.write(TEA, "on_hand", "increment", 3)
    asyncio.get_running_loop().call_later(0.1, route.wake)

    reading = await agent.read(Stock, "s1", "tea", consistency="strong", seconds=10)

    assert reading.value["on_hand"] == 3


async def test_a_strong_read_waits_for_own_writes_to_be_merged(agent: EdgeAgent, route: CloudRoute) -> None:
    await online(agent)
    route.merging = False
    await agent.run("receive", store="s1", sku="tea", qty=2)
    with pytest.raises(TimedOut):
        await agent.read(Stock, "s1", "tea", consistency="strong", seconds=0.1)

    await until(lambda: len(route.sent) == 1)
    route.work_off()

    assert (await agent.read(Stock, "s1", "tea", consistency="strong", seconds=10)).pending == 0


async def test_without_a_way_to_the_cloud_a_strong_read_is_refused_at_once(agent: EdgeAgent, route: CloudRoute) -> None:
    await agent.run("receive", store="s1", sku="tea", qty=2)
    await agent.offline()
    with pytest.raises(Offline):
        await agent.read(Stock, "s1", "tea", consistency="strong", seconds=30)
    route.cut()
    await agent.online()
    with pytest.raises(Offline):
        await agent.read(Stock, "s1", "tea", consistency="strong", seconds=30)
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 2


@pytest.mark.parametrize("asked", [{"consistency": "strong"}, {"max_age": 0.0}], ids=str)
async def test_a_read_that_needs_the_cloud_waits_for_a_link_that_begins_anew(
    agent: EdgeAgent, cloud: Cloud, asked: dict[str, Any]
) -> None:
    """Nobody has said that there is no way: its timeout is there to be waited for."""
    await online(agent)
    cloud.write(TEA, "on_hand", "increment", 3)
    async with agent._sync.clients.changing:
        await agent._sync.clients.disconnect()
        reading = asyncio.create_task(agent.read(Stock, "s1", "tea", seconds=20, **asked))
        await asyncio.sleep(0.2)
        assert not reading.done()
    await agent._sync.clients.reconnect()
    assert (await reading).value["on_hand"] == 3


async def test_a_strong_read_right_after_the_start_waits_for_the_first_word_of_the_broker(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud
) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert (await agent.read(Stock, "s1", "tea", consistency="strong", seconds=20)).value["on_hand"] == 3


async def test_max_age_is_kept_or_refused(agent: EdgeAgent, route: CloudRoute, cloud: Cloud) -> None:
    await online(agent)
    cloud.write(TEA, "on_hand", "increment", 3)
    reading = await agent.read(Stock, "s1", "tea", max_age=0.0, seconds=10)
    assert reading.value["on_hand"] == 3
    assert reading.age_seconds is not None and reading.age_seconds < 10

    await agent.offline()

    assert (await agent.read(Stock, "s1", "tea", max_age=3600)).value["on_hand"] == 3
    with pytest.raises(Offline):
        await agent.read(Stock, "s1", "tea", max_age=0.0)


async def test_a_max_age_is_not_promised_of_a_topic_that_was_made_anew_under_the_feed(
    agent: EdgeAgent, route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has looked since, and the client that follows goes on at the same offset."""
    await online(agent)
    cloud.write(TEA, "on_hand", "increment", 3)
    await agent.read(Stock, "s1", "tea", max_age=0.0, seconds=10)
    monkeypatch.setattr("driftlog_edge.link.lookout.LOOK_SECONDS", 1e6)
    monkeypatch.setattr("driftlog_edge.link.signal.PROBE_SECONDS", 1e6)
    looked = agent._sync.lookout
    looked._next = agent._sync.signal._probe_at = 1e12
    known = agent.status()["scopes"]["s1"]["synced_at"]
    state = "retail.state"
    cloud.topic_ids[state] = "second"
    cloud.write(TEA, "on_hand", "increment", 4)
    at = partition_of("s1", PARTITIONS)
    await until(lambda: agent._sync.places.position(state, at) == len(cloud.of(state, at)))
    assert agent.status()["scopes"]["s1"]["synced_at"] == known, "the feed alone does not know what it reads"
    reading = await agent.read(Stock, "s1", "tea", max_age=0.01, seconds=10)
    assert reading.value["on_hand"] == 7
    assert agent._sync.places.cursor(state, at).topic_id == "second", "answered when it was read again"


async def test_a_causal_read_waits_for_what_the_session_has_seen_elsewhere(
    agent: EdgeAgent, cloud: Cloud, route: CloudRoute, tmp_path: Path, ids: FixedIds
) -> None:
    from driftlog_schemas.signing import Identity

    Identity.create("store-2").save(tmp_path / "other.json")
    other_config = EdgeConfig(data_dir=tmp_path / "other", identity=tmp_path / "other.json", scopes=["s1"])
    other_route = CloudRoute(cloud)
    async with EdgeAgent(app, other_config, route=other_route, ids=ids) as other:
        written = await other.run("receive", store="s1", sku="tea", qty=4, wait="shipped", seconds=10)
        await other.offline()
        before = await other.run("receive", store="s1", sku="tea", qty=4)

        reading = await agent.read(Stock, "s1", "tea", consistency="causal", session=written.session, seconds=10)
        assert reading.value["on_hand"] == 4
        with pytest.raises(TimedOut):
            await agent.read(Stock, "s1", "tea", consistency="causal", session=before.session, seconds=0.1)
        assert (await other.read(Stock, "s1", "tea", consistency="causal", session=before.session)).value[
            "on_hand"
        ] == 8
