"""Scopes come and go, releases change, topics are made anew: nothing that was passed over is missed, nothing that is gone is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import NotHeld, NotReadable, Offline, Unconfirmed
from driftlog_edge.incoming import agreement
from driftlog_edge.ports import Family
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.digests import text_of
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import CONTRACT, PARTITIONS, Ledger, Stock
from tests.unit.edge.test_http import problem
from tests.unit.edge.waiting import pages, until

pytestmark = pytest.mark.usefixtures("quick_ticks")

NEIGHBOUR = next(f"n{i}" for i in range(100) if partition_of(f"n{i}", PARTITIONS) == partition_of("s1", PARTITIONS))
"""A scope in the partition of s1."""


@pytest.fixture
def lives(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> Callable[..., EdgeAgent]:
    """Starts of one agent, with other settings or another release."""

    def start(*scopes: str, contract: AppContract = CONTRACT) -> EdgeAgent:
        return EdgeAgent(contract, config.model_copy(update={"scopes": list(scopes)}), route=route, ids=ids)

    return start


def there(agent: EdgeAgent, kind: type, scope: str) -> Callable[[], object]:
    return lambda: scope in agent.scopes() and agent.page(kind, scope)


async def read_all(agent: EdgeAgent, scope: str = "s1") -> None:
    await until(lambda: agent.status()["scopes"][scope]["synced_at"])


async def test_a_scope_that_is_added_while_running_is_fetched_from_a_partition_that_was_read(
    lives: Callable[..., EdgeAgent], cloud: Cloud
) -> None:
    cloud.write(DocumentId("Stock", NEIGHBOUR, "tea"), "on_hand", "increment", 3)
    async with lives("s1") as agent:
        await read_all(agent)
        with pytest.raises(NotHeld):
            await agent.read(Stock, NEIGHBOUR, "tea")
        assert await agent.hold(["s1", NEIGHBOUR]) == ["s1", NEIGHBOUR]
        await until(there(agent, Stock, NEIGHBOUR))
        assert (await agent.read(Stock, NEIGHBOUR, "tea")).value["on_hand"] == 3
        answer = await agent.run("receive", store=NEIGHBOUR, sku="tea", qty=1, wait="merged", seconds=10)
        assert answer.result == 4
    async with lives("s1") as agent:
        assert agent.scopes() == ["s1", NEIGHBOUR], "a change by the API stands as long as the settings do"


async def test_a_scope_that_is_added_by_the_settings_is_fetched_and_not_called_fresh_before(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute
) -> None:
    cloud.write(DocumentId("Stock", NEIGHBOUR, "tea"), "on_hand", "increment", 3)
    async with lives("s1") as agent:
        await read_all(agent)
    route.cut()
    async with lives("s1", NEIGHBOUR) as agent:
        assert agent.status()["scopes"][NEIGHBOUR]["age_seconds"] is None
        with pytest.raises(Offline):
            await agent.read(Stock, NEIGHBOUR, "tea", max_age=3600)
    route.mend()
    async with lives("s1", NEIGHBOUR) as agent:
        await until(there(agent, Stock, NEIGHBOUR))


async def test_a_scope_that_is_left_goes_from_the_disk(lives: Callable[..., EdgeAgent], cloud: Cloud) -> None:
    for scope in ("s1", NEIGHBOUR):
        cloud.write(DocumentId("Stock", scope, "tea"), "on_hand", "increment", 3)
    async with lives("s1", NEIGHBOUR) as agent:
        await until(there(agent, Stock, NEIGHBOUR))
        await agent.hold(["s1"])
        await until(
            lambda: not [k for k, _ in agent._store.scan(Family.CONFIRMED, b"") if f"Stock/{NEIGHBOUR}/".encode() in k]
        )
        for consistency in ("eventual", "strong"):
            with pytest.raises(NotHeld):
                await agent.read(Stock, NEIGHBOUR, "tea", consistency=consistency)
        with pytest.raises(NotHeld):
            await agent.page(Stock, NEIGHBOUR)
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3
        assert set(agent.status()["scopes"]) == {"s1"}
        await agent.hold([NEIGHBOUR, "s1"])
        await until(there(agent, Stock, NEIGHBOUR))


async def test_a_scope_with_commands_that_wait_is_not_left(lives: Callable[..., EdgeAgent], cloud: Cloud) -> None:
    async with lives("s1", "s2") as agent:
        await agent.offline()
        await agent.run("receive", store="s2", sku="tea", qty=1)
        with pytest.raises(Unconfirmed, match="s2"):
            await agent.hold(["s1"])
        with pytest.raises(InvalidInput):
            await agent.hold([])
        assert agent.scopes() == ["s1", "s2"]
    async with lives("s1") as agent:
        assert agent.scopes() == ["s1", "s2"], "nor by the settings, as long as they wait"
        await agent.online()
        await until(lambda: agent.status()["pending"] == 0)
    async with lives("s1") as agent:
        assert agent.scopes() == ["s1"]


async def test_scopes_over_http(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/scopes")).json() == {"scopes": ["s1", "s2"]}
    problem(await http.get("/v1/documents/Stock/elsewhere/tea"), 404, "not_held")
    problem(await http.get("/v1/documents/Stock/elsewhere"), 404, "not_held")
    assert (await http.put("/v1/scopes", json={"scopes": ["s2", "elsewhere"]})).json() == {
        "scopes": ["s2", "elsewhere"]
    }
    problem(await http.get("/v1/documents/Stock/elsewhere/tea"), 404, "not_found")
    problem(await http.get("/v1/documents/Stock/s1/tea"), 404, "not_held")
    for bad in ([], [""], ["x" * 513], ["a\x00b"]):
        assert problem(await http.put("/v1/scopes", json={"scopes": bad}), 422, "invalid")["field"] == "scopes"


async def test_what_is_not_held_is_told_to_commands_that_list_it_and_to_who_watches_it(
    http: httpx.AsyncClient, agent: EdgeAgent
) -> None:
    answer = await http.post("/v1/commands/count", json={"shop": "elsewhere"})
    assert "does not hold scope 'elsewhere'" in problem(answer, 422, "invalid")["detail"]
    problem(await http.get("/v1/watch?scope=elsewhere&timeout=0s"), 404, "not_held")
    watch = agent.watch(scope="s1", seconds=30)
    since = agent.watchers.now
    await agent.hold(["s2"])
    assert (await anext(watch)).document is None, "read it again, and learn that it is not held"
    problem(await http.get("/v1/watch?scope=s1&timeout=0s", headers={"Last-Event-ID": since}), 404, "not_held")


def without(collection: str, field: str = "") -> AppContract:
    """A release that does not declare that collection, nor that field of Stock."""
    space = CONTRACT.spaces["retail"]
    kept = {name: declared for name, declared in space.collections.items() if name != collection}
    stock = kept["Stock"]
    rules = replace(stock.document, fields={n: f for n, f in stock.document.fields.items() if n != field})
    kept["Stock"] = replace(
        stock,
        document=rules,
        columns=tuple(c for c in stock.columns if c.name != field),
        present=lambda scope, id, state: {"store": scope, "sku": id, **rules.values(state)},
    )
    older = replace(space, collections=kept, commands={})
    return replace(CONTRACT, spaces={**CONTRACT.spaces, "retail": older})


async def test_what_an_older_release_could_not_read_is_kept_and_read_after_the_upgrade_offline(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute
) -> None:
    cloud.write(DocumentId("Ledger", "s1", "today"), "sold", "increment", 3)
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    async with lives("s1", contract=without("Ledger")) as agent:
        await until(there(agent, Stock, "s1"))
        await read_all(agent)
        with pytest.raises(InvalidInput):
            await agent.read("Ledger", "s1", "today")
        older = agent.status()["scopes"]["s1"]
        assert not older["differs"], "what cannot be read counts too"
    route.cut()
    async with lives("s1") as agent:
        assert (await agent.read(Ledger, "s1", "today")).value["sold"] == 3
        digest = agent.status()["scopes"]["s1"]["digest"]
        assert digest == older["digest"] == text_of(cloud.digest("retail", "s1"))
        assert list(agent._store.scan(Family.UNREAD, b"")) == []
    fresh = lives("s1")
    route.mend()
    shutil.rmtree(fresh.config.data_dir)
    async with fresh as agent:
        await until(there(agent, Ledger, "s1"))
        assert agent.status()["scopes"]["s1"]["digest"] == digest, "whichever release read it first"


async def test_what_a_newer_release_wrote_counts_once_when_an_older_one_writes_over_it(
    lives: Callable[..., EdgeAgent], cloud: Cloud
) -> None:
    today = DocumentId("Ledger", "s1", "today")
    cloud.write(today, "sold", "increment", 3)
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    async with lives("s1") as agent:
        await until(there(agent, Ledger, "s1"))
    cloud.write(today, "sold", "increment", 1)
    wanted = text_of(cloud.digest("retail", "s1"))
    for contract in (without("Ledger"), CONTRACT):
        async with lives("s1", contract=contract) as agent:
            await until(lambda agent=agent: agent.status()["scopes"]["s1"]["digest"] == wanted)
            assert not agent.status()["scopes"]["s1"]["differs"]


async def test_an_agent_counts_its_rows_when_it_starts_and_reads_again_what_is_not_right(
    lives: Callable[..., EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "GRACE_SECONDS", 0.0)
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    async with lives("s1") as agent:
        await until(there(agent, Stock, "s1"))
        folder = agent.config.data_dir
    store = RocksStore(folder)
    store.write({(Family.CONFIRMED, key): None for key, _ in store.scan(Family.CONFIRMED, b"")}, sync=True)
    store.close()
    async with lives("s1") as agent:
        await until(lambda: agent.status()["mismatches"] == 1)
        await until(there(agent, Stock, "s1"))
        facts = agent.status()
        assert not facts["scopes"]["s1"]["differs"] and facts["differing"] == [] and facts["mismatches"] == 1


def with_a_counter_for(field: str) -> AppContract:
    """A release before that field of Stock became what it is: it was a counter, and the fields keep their names."""
    older = without("Ledger")
    space = older.spaces["retail"]
    stock = space.collections["Stock"]
    fields = stock.document.fields
    rules = replace(stock.document, fields={**fields, field: fields["on_hand"]})
    counted = next(column for column in stock.columns if column.name == "on_hand")
    columns = tuple(replace(counted, name=field) if c.name == field else c for c in stock.columns)
    collections = {"Stock": replace(stock, document=rules, columns=columns)}
    return replace(older, spaces={**older.spaces, "retail": replace(space, collections=collections)})


async def test_a_row_that_cannot_be_read_says_so_until_a_release_can(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute
) -> None:
    tea = DocumentId("Stock", "s1", "tea")
    cloud.write(tea, "on_hand", "increment", 3)
    cloud.write(tea, "name", "set", "green")
    cloud.write(DocumentId("Stock", "s1", "oat"), "on_hand", "increment", 1)
    async with lives("s1", contract=with_a_counter_for("name")) as agent:
        await read_all(agent)
        with pytest.raises(NotReadable) as told:
            await agent.read(Stock, "s1", "tea")
        assert told.value.code == "not_readable"
        with pytest.raises(NotReadable):
            await agent.write(tea, [("on_hand", "increment", [1])])
        assert [id for id, _ in await agent.page(Stock, "s1")] == ["oat"]
        assert agent.status()["scopes"]["s1"]["not_readable"] == 1
    route.cut()
    async with lives("s1") as agent:
        value = (await agent.read(Stock, "s1", "tea")).value
        assert (value["on_hand"], value["name"]) == (3, "green")
        assert agent.status()["scopes"]["s1"]["not_readable"] == 0


async def test_a_release_that_changes_nothing_reads_nothing_again(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute
) -> None:
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    async with lives("s1") as agent:
        await until(there(agent, Stock, "s1"))
        await read_all(agent)
    route.cut()
    async with lives("s1", contract=without("Ledger")) as agent:
        assert agent.status()["scopes"]["s1"]["age_seconds"] is not None


async def test_what_a_release_no_longer_declares_is_kept_while_it_is_pending(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute
) -> None:
    route.cut()
    tea = DocumentId("Stock", "s1", "tea")
    async with lives("s1") as agent:
        await agent.write(
            tea, [("on_hand", "increment", [1]), ("name", "set", ["green"]), ("on_hand", "increment", [1])]
        )
        await agent.run("sell", store="s1", sku="tea", qty=1, command_id="c1")
    async with lives("s1", contract=without("Ledger", field="name")) as agent:
        value = (await agent.read(Stock, "s1", "tea")).value
        assert (value["on_hand"], "name" in value) == (1, False)
        assert (await agent.write(tea, [("on_hand", "increment", [5])])).dots[0][2] == 5
        assert agent.command("c1").status == "pending"
        assert await pages(agent, Stock, "s1", ["tea"])
        assert (agent.status()["pending"], len((await agent.log.last(9)).lines)) == (3, 3)
    async with lives("s1") as agent:
        value = (await agent.read(Stock, "s1", "tea")).value
        assert (value["on_hand"], value["name"]) == (6, "green")
        assert (await agent.read(Ledger, "s1", "today")).value["sold"] == 1
        route.mend()
        await until(lambda: agent.status()["pending"] == 0)
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 6
