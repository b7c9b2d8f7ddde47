"""An agent whose disk has a budget: what is evicted, and what its callers are told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Deleted, Evicted, TimedOut
from driftlog_edge.http_api import build
from driftlog_edge.ports import Family, Record
from driftlog_edge.store import budget as budget_module
from driftlog_edge.store import keys
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import COLLECTIONS
from tests.unit.edge.shop import PARTITIONS, Ledger, Stock, app
from tests.unit.edge.waiting import until

pytestmark = pytest.mark.usefixtures("quick_ticks")

STATE = ("retail.state", partition_of("s1", PARTITIONS))
TEA, OAT = DocumentId("Stock", "s1", "tea"), DocumentId("Stock", "s1", "oat")


@pytest.fixture(autouse=True)
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any store is near its budget, and goes down to nothing when it is told to be over it (`make_room`)."""
    monkeypatch.setattr(budget_module, "WARNED", 0.0)
    monkeypatch.setattr(budget_module, "GOAL", -100.0)
    monkeypatch.setattr(budget_module, "ROUNDS", 1)
    monkeypatch.setattr(budget_module, "GROWN", 0.0)
    monkeypatch.setattr(budget_module, "LOOK_SECONDS", 3600.0)


@pytest.fixture
def start(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> Callable[[], EdgeAgent]:
    """Starts an agent with a budget; what makes room is asked for by the test."""
    small = config.model_copy(update={"disk_budget": 16 << 20})
    return lambda: EdgeAgent(app, small, route=route, ids=ids)


@pytest.fixture
async def agent(start: Callable[[], EdgeAgent], cloud: Cloud) -> AsyncIterator[EdgeAgent]:
    """One from which three documents are evicted."""
    for document in (TEA, OAT):
        cloud.write(document, "on_hand", "increment", 3)
    cloud.write(DocumentId("Ledger", "s1", "today"), "sold", "increment", 1)
    async with start() as running:
        await until(lambda: running.status()["scopes"]["s1"]["synced_at"])
        await evict(running, 3)
        yield running


async def make_room(agent: EdgeAgent) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_module, "FULL", 0.0)
        await agent._budget.room()


async def evict(agent: EdgeAgent, many: int) -> None:
    await make_room(agent)
    assert agent.status()["scopes"]["s1"]["evicted"] == many


def here(agent: EdgeAgent) -> list[bytes]:
    return [keys.document_of_confirmed(key) for key, _ in agent._store.scan(Family.CONFIRMED, b"")]


@pytest.fixture
async def http(agent: EdgeAgent) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as client:
        yield client


async def test_a_read_fetches_it_again_from_where_it_lies(agent: EdgeAgent, cloud: Cloud, route: CloudRoute) -> None:
    cloud.write(OAT, "on_hand", "increment", 4)
    await until(lambda: agent.status()["scopes"]["s1"]["digests"])
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
    assert here(agent) == [b"Stock/s1/tea"]
    assert route.looked_up == [{b"Stock/s1/tea": cloud.of(*STATE)[0].offset}]
    assert (await agent.read(Stock, "s1", "oat", consistency="strong")).value["on_hand"] == 7
    status = agent.status()
    assert (status["scopes"]["s1"]["evicted"], status["disk"]["fetches"], status["mismatches"]) == (1, 2, 0)
    assert not status["scopes"]["s1"]["differs"]
    await evict(agent, 3)


async def test_offline_a_read_says_evicted_and_never_that_it_is_not_there(
    agent: EdgeAgent, http: httpx.AsyncClient
) -> None:
    await agent.offline()
    for consistency in ("eventual", "causal"):
        with pytest.raises(Evicted, match="no way to the cloud"):
            await agent.read(Stock, "s1", "tea", consistency=consistency)  # type: ignore[arg-type]
    answer = await http.get("/v1/documents/Stock/s1/tea")
    assert (answer.status_code, answer.json()["code"]) == (410, "evicted")
    assert "online" in answer.json()["remedy"]
    assert (await http.get("/v1/documents/Stock/s1/spelt")).json()["code"] == "not_found"


async def test_offline_a_command_on_it_is_refused_and_online_it_is_fetched_first(
    agent: EdgeAgent, http: httpx.AsyncClient, cloud: Cloud
) -> None:
    await agent.offline()
    answer = await http.post("/v1/commands/receive", json={"store": "s1", "sku": "tea", "qty": 1})
    assert (answer.status_code, answer.json()["code"]) == (410, "evicted")
    assert agent.status()["pending"] == 0
    assert (await agent.run("receive", store="s1", sku="spelt", qty=1)).result == 1, "what was never there may be made"
    await agent.online()
    answer = await http.post("/v1/commands/receive?wait=merged", json={"store": "s1", "sku": "tea", "qty": 1})
    assert answer.json()["result"] == 4
    assert COLLECTIONS["Stock"].document.values(cloud.states[TEA])["on_hand"] == 4


async def test_what_is_not_sent_survives_whatever_makes_room(agent: EdgeAgent, cloud: Cloud) -> None:
    await agent.read(Stock, "s1", "tea")
    await agent.offline()
    await agent.run("receive", store="s1", sku="tea", qty=2)
    await evict(agent, 2)
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5
    await agent.online()
    await until(lambda: agent.status()["pending"] == 0)
    await evict(agent, 3)
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5


async def test_lists_say_how_many_are_evicted(agent: EdgeAgent, http: httpx.AsyncClient) -> None:
    await agent.read(Stock, "s1", "tea")
    page = (await http.get("/v1/documents/Stock/s1")).json()
    assert ([one["id"] for one in page["documents"]], page["evicted"], page["next"]) == (["tea"], 1, None)
    answer = await http.get("/v1/documents/Stock/s1", headers={"accept": "application/x-ndjson"})
    *documents, last = map(json.loads, answer.text.splitlines())
    assert ([one["id"] for one in documents], last) == (["tea"], {"evicted": 1})
    assert [id for id, _ in await agent.page(Stock, "s1")] == ["tea"]


async def test_many_readers_of_a_document_fetch_it_once(agent: EdgeAgent, route: CloudRoute) -> None:
    readings = await asyncio.gather(*(agent.read(Stock, "s1", "tea") for _ in range(20)))
    assert {reading.value["on_hand"] for reading in readings} == {3}
    assert len(route.looked_up) == 1


async def test_a_fetch_that_takes_longer_than_anybody_waits_comes_to_its_end(
    agent: EdgeAgent, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, come, begun = route.records, threading.Event(), []

    def slow(*asked: Any) -> dict[bytes, Record]:
        begun.append(asked)
        come.wait(60)
        return records(*asked)

    monkeypatch.setattr(route, "records", slow)
    for _ in range(3):
        with pytest.raises(TimedOut, match="being fetched"):
            await agent.read(Stock, "s1", "tea", seconds=0.1)
    come.set()
    await until(lambda: b"Stock/s1/tea" in here(agent))
    assert len(begun) == 1
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3


async def test_what_the_cloud_deleted_meanwhile_does_not_come_back(agent: EdgeAgent, cloud: Cloud) -> None:
    cloud.write(TEA, "", "delete", None)
    for consistency in ("strong", "eventual"):
        with pytest.raises(Deleted):
            await agent.read(Stock, "s1", "tea", consistency=consistency)  # type: ignore[arg-type]


async def test_a_record_that_is_not_what_was_evicted_is_not_taken(
    agent: EdgeAgent, cloud: Cloud, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.link.refetch.APART_SECONDS", 0.01)
    cloud.write(TEA, "on_hand", "increment", 4)
    newer = cloud.of(*STATE)[-1]
    await until(lambda: agent._sync.places.position(*STATE) > newer.offset)
    honest = route.records
    older = cloud.of(*STATE)[0]._replace(offset=newer.offset)
    monkeypatch.setattr(route, "records", lambda *asked: {older.key: older})
    with pytest.raises(TimedOut, match="being fetched"):
        await agent.read(Stock, "s1", "tea", seconds=0.2)
    monkeypatch.setattr(route, "records", honest)
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 7


async def test_a_broker_that_does_not_answer_is_told_as_evicted(
    agent: EdgeAgent, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "up", False)
    with pytest.raises(Evicted):
        await agent.read(Stock, "s1", "tea")


async def test_a_row_of_which_nobody_knows_where_it_lies_is_looked_for(
    config: EdgeConfig, start: Callable[[], EdgeAgent], route: CloudRoute, ids: FixedIds, cloud: Cloud
) -> None:
    cloud.write(TEA, "on_hand", "increment", 3)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.page(Stock, "s1"))
        assert list(agent._store.scan(Family.META, keys.TRACES)) == [], "without a budget nobody pays for one"
    async with start() as agent:
        await evict(agent, 1)
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
        assert route.looked_up[0] == {b"Stock/s1/tea": -1}
        await evict(agent, 1)
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
        assert route.looked_up[-1] == {b"Stock/s1/tea": 0}, "it was remembered"


async def test_a_scope_that_is_left_leaves_nothing(agent: EdgeAgent) -> None:
    await agent.read(Stock, "s1", "tea")
    await agent.hold(["s2"])
    left = [key for kind in (keys.EVICTED, keys.TRACES) for key, _ in agent._store.scan(Family.META, kind)]
    assert left == []


async def test_the_status_warns_and_says_what_may_not_go(agent: EdgeAgent, http: httpx.AsyncClient) -> None:
    disk = agent.status()["disk"]
    assert disk["budget_bytes"] == 16 << 20 and disk["evictions"] == 3
    assert "% of its disk budget of 16777216 bytes" in disk["warning"]
    await agent.offline()
    await agent.run("receive", store="s1", sku="spelt", qty=1)
    await make_room(agent)
    assert agent.status()["disk"]["exhausted"] and "nothing more may make room" in agent.status()["disk"]["warning"]
    metrics = (await http.get("/metrics")).text
    assert "driftlog_edge_disk_warning 1.0" in metrics and "driftlog_edge_evicted_documents 3.0" in metrics


async def test_a_budget_may_change_while_it_runs(agent: EdgeAgent) -> None:
    assert agent.change_settings({"disk_budget": "1 GiB"})["disk_budget"] == 1 << 30
    assert agent.status()["disk"]["budget_bytes"] == 1 << 30
    assert (await agent.read(Ledger, "s1", "today")).value["sold"] == 1
    agent.change_settings({"disk_budget": 0})
    await make_room(agent)
    assert here(agent) == [b"Ledger/s1/today"]
    assert agent.status()["disk"]["warning"] == ""
