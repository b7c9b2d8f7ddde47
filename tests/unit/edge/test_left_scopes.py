"""A scope that is left: no command slips into it, and all of it goes from the disk, whatever cuts that off."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.errors import DiskFull, NotHeld, Unconfirmed
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import holdings, keys
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import Ledger, Stock
from tests.unit.edge.test_puller import dispute
from tests.unit.edge.test_scopes import NEIGHBOUR, lives, read_all, there, without
from tests.unit.edge.waiting import online, pages, until

__all__ = ["lives"]
pytestmark = pytest.mark.usefixtures("quick_ticks")


def of(scope: str, agent: EdgeAgent) -> list[tuple[Family, bytes]]:
    """What the disk has of a scope, but for what the device's own commands were."""
    families = (Family.CONFIRMED, Family.UNREAD, Family.CONFLICTS)
    rows = [(f, k) for f in families for k, v in agent._store.scan(f, b"") if scope.encode() in k + v]
    return rows + [(Family.META, k) for k, _ in agent._store.scan(Family.META, keys.DIGESTS) if scope.encode() in k]


async def test_no_command_is_taken_into_a_scope_while_it_is_left(
    lives: Callable[..., EdgeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives("s1", NEIGHBOUR) as agent:
        await online(agent)
        disconnect, inside, go = agent._sync.clients.disconnect, asyncio.Event(), asyncio.Event()

        async def slowly(*, forced: bool = False) -> None:
            inside.set()
            await go.wait()
            await disconnect(forced=forced)

        with monkeypatch.context() as patched:
            patched.setattr(agent._sync.clients, "disconnect", slowly)
            leaving = asyncio.create_task(agent.hold(["s1"]))
            await inside.wait()
            await agent.run("receive", store=NEIGHBOUR, sku="tea", qty=1, command_id="c1")
            go.set()
            with pytest.raises(Unconfirmed, match=NEIGHBOUR):
                await leaving
        assert agent.scopes() == ["s1", NEIGHBOUR]
        await until(lambda: agent.command("c1").status == "merged")
        assert agent.status()["pending"] == 0

        removals = agent._holdings.removals

        def tried() -> Iterator[dict[Place, bytes | None]]:
            if agent.scopes() == ["s1"]:
                with pytest.raises(InvalidInput, match=NEIGHBOUR):
                    agent._executor.run("receive", {"store": NEIGHBOUR, "sku": "tea", "qty": 1})
            return removals()

        monkeypatch.setattr(agent._holdings, "removals", tried)
        assert await agent.hold(["s1"]) == ["s1"]


async def test_a_scope_that_is_added_is_not_called_fresh_whatever_is_written_down_meanwhile(
    lives: Callable[..., EdgeAgent], route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives("s1") as agent:
        await read_all(agent)
        route.cut()
        stage = agent._committer.stage

        def keeping(writes: dict[Place, bytes | None], **how: Any) -> asyncio.Future[None]:
            future = stage(writes, **how)
            if (Family.META, keys.HOLDINGS) in writes:
                asyncio.get_running_loop().call_soon(agent._sync.freshness.keep)  # its time has come
            return future

        with monkeypatch.context() as patched:
            patched.setattr(agent._committer, "stage", keeping)
            await agent.hold(["s1", NEIGHBOUR])
    async with lives("s1") as agent:
        assert agent.status()["scopes"][NEIGHBOUR]["age_seconds"] is None


@pytest.mark.parametrize("whole", [0, 1], ids=["before the first row went", "between two writes"])
async def test_what_cuts_a_removal_off_leaves_it_to_the_next_start(
    lives: Callable[..., EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    """Also of rows that the release cannot read, and that the next one can."""
    for scope in ("s1", NEIGHBOUR):
        cloud.write(DocumentId("Ledger", scope, "today"), "sold", "increment", 3)
        cloud.write(DocumentId("Stock", scope, "tea"), "on_hand", "increment", 3)
    cloud.publish_conflict(dispute(DocumentId("Stock", NEIGHBOUR, "tea")))
    async with lives("s1", NEIGHBOUR, contract=without("Ledger")) as agent:
        await until(there(agent, Stock, NEIGHBOUR))
        await until(agent.conflicts)
        await read_all(agent)
        assert {family for family, _ in of(NEIGHBOUR, agent)} >= {Family.CONFIRMED, Family.UNREAD, Family.CONFLICTS}
        monkeypatch.setattr(holdings, "REMOVED_AT_ONCE", 1)
        removals = agent._holdings.removals

        def cut() -> Iterator[dict[Place, bytes | None]]:
            yield from islice(removals(), whole if agent.scopes() == ["s1"] else None)
            if agent.scopes() == ["s1"]:
                raise DiskFull("the power is gone", "wait")

        monkeypatch.setattr(agent._holdings, "removals", cut)
        with pytest.raises(DiskFull):
            await agent.hold(["s1"])
        with pytest.raises(NotHeld):
            await agent.read(Stock, NEIGHBOUR, "tea")
    async with lives("s1") as agent:
        assert agent.scopes() == ["s1"]
        assert of(NEIGHBOUR, agent) == [] and agent.conflicts() == []
        assert (await agent.read(Ledger, "s1", "today")).value["sold"] == 3
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 3


async def test_a_scope_is_taken_up_again_only_when_all_of_it_is_gone(
    lives: Callable[..., EdgeAgent], cloud: Cloud, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cloud forgot meanwhile would else stay for ever."""
    cloud.write(DocumentId("Stock", NEIGHBOUR, "tea"), "on_hand", "increment", 3)
    async with lives("s1", NEIGHBOUR) as agent:
        await until(there(agent, Stock, NEIGHBOUR))
        with monkeypatch.context() as patched:
            patched.setattr(agent._holdings, "removals", lambda: iter([{}]))
            await agent.hold(["s1"])
        assert of(NEIGHBOUR, agent) != []
        route.cut()
        await agent.hold(["s1", NEIGHBOUR])
        assert of(NEIGHBOUR, agent) == [] and await agent.page(Stock, NEIGHBOUR) == []
        route.mend()
        await until(there(agent, Stock, NEIGHBOUR))


async def test_a_change_that_the_disk_does_not_take_changes_nothing(
    lives: Callable[..., EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives("s1", "s2") as agent:
        await read_all(agent)

        def full(store: RocksStore, writes: object, *, sync: bool) -> None:
            raise DiskFull("no space left", "free some")

        with monkeypatch.context() as patched:
            patched.setattr(RocksStore, "write", full)
            with pytest.raises(DiskFull):
                await agent.hold(["s2", NEIGHBOUR])
        assert agent.scopes() == ["s1", "s2"]
        cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
        await until(there(agent, Stock, "s1"))
        assert (await agent.run("receive", store="s1", sku="tea", qty=1)).result == 4


async def test_the_disk_gets_back_what_a_scope_took(lives: Callable[..., EdgeAgent], cloud: Cloud) -> None:
    taken = 400
    for sku in range(taken):
        cloud.write(DocumentId("Stock", NEIGHBOUR, f"sku-{sku:03d}"), "name", "set", secrets.token_hex(1_500))
    async with lives("s1", NEIGHBOUR) as agent:
        await until(lambda: pages(agent, Stock, NEIGHBOUR, [f"sku-{sku:03d}" for sku in range(taken)]))
        agent._store.reclaim([Family.CONFIRMED])
        before = agent.status()["disk_bytes"]
        await agent.hold(["s1"])
        await agent.tidy()
        assert before - agent.status()["disk_bytes"] > taken * 1_000
