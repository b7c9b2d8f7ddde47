"""An agent with a cloud beside it: offline and back, restarts, a full disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotFound, StoreBusy, StoreFailed, TimedOut
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import journal, opening, rocks
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import PARTITIONS, Stock, app
from tests.unit.edge.waiting import online, until

TEA = DocumentId("Stock", "s1", "tea")

pytestmark = pytest.mark.usefixtures("quick_ticks")


async def test_a_write_is_answered_before_the_cloud_knows_and_merged_after(agent: EdgeAgent) -> None:
    answer = await agent.run("receive", store="s1", sku="tea", qty=5)
    assert answer.result == 5
    merged = await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
    assert merged.status == "merged"
    reading = await agent.read(Stock, "s1", "tea")
    assert (reading.value["on_hand"], reading.document.on_hand.value, reading.pending) == (6, 6, 0)
    assert agent.command(answer.command_id).status == "merged"


async def test_offline_it_works_on_and_afterwards_all_of_it_arrives_once(
    agent: EdgeAgent, cloud: Cloud, route: CloudRoute
) -> None:
    await online(agent)
    await agent.offline()
    for _ in range(5):
        assert (await agent.run("receive", store="s1", sku="tea", qty=1)).status == "pending"
    status = agent.status()
    assert (status["connection"], status["pending"], status["offline_by_choice"]) == ("OFFLINE", 5, True)
    assert status["oldest_pending_seconds"] >= 0
    assert route.sent == []

    await agent.online()
    await until(lambda: agent.status()["pending"] == 0)

    assert on_hand(cloud) == 5
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5


def on_hand(cloud: Cloud) -> object:
    """What the cloud has merged of the tea; None before it has heard of it."""
    from tests.unit.edge.replica import COLLECTIONS

    if TEA not in cloud.states:
        return None
    return COLLECTIONS["Stock"].document.field_value(cloud.states[TEA], "on_hand")


async def test_a_rejected_command_is_told_with_its_reason_and_vanishes(agent: EdgeAgent, cloud: Cloud) -> None:
    cloud.rejects["c1"] = "recount"
    await agent.run("receive", store="s1", sku="tea", qty=5)

    answer = await agent.run("receive", store="s1", sku="tea", qty=9, command_id="c1", wait="merged", seconds=10)

    assert (answer.status, answer.code, answer.reason) == ("rejected", "recount", "recount says the guard")
    await until(lambda: agent.status()["pending"] == 0)
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5


async def test_shipped_is_not_merged(agent: EdgeAgent, route: CloudRoute) -> None:
    route.merging = False
    answer = await agent.run("receive", store="s1", sku="tea", qty=9, wait="shipped", seconds=10)
    assert answer.status == "shipped"
    await agent.run("receive", store="s1", sku="tea", qty=9, command_id="c2", wait="shipped", seconds=10)
    with pytest.raises(TimedOut) as raised:
        await agent.run("receive", store="s1", sku="tea", qty=9, command_id="c2", wait="merged", seconds=0.05)
    assert raised.value.command_id == "c2"

    route.work_off()
    await until(lambda: agent.command("c2").status == "merged")


async def test_shipped_is_true_of_one_batch_while_others_are_on_their_way(agent: EdgeAgent, route: CloudRoute) -> None:
    route.merging = False
    first = await agent.run("receive", store="s1", sku="tea", qty=1, wait="shipped", seconds=10)
    route.cut()
    second = await agent.run("receive", store="s1", sku="tea", qty=1)

    assert agent.command(first.command_id).status == "shipped"
    assert agent.command(second.command_id).status == "pending"


async def test_an_agent_takes_up_where_the_last_one_was(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud
) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids) as first:
        await first.run("receive", store="s1", sku="tea", qty=5, wait="merged", seconds=10)
        await first.offline()
        await first.run("receive", store="s1", sku="tea", qty=2, command_id="c2")
        known = first.status()["scopes"]["s1"]["synced_at"]

    route.cut()
    async with EdgeAgent(app, config, route=route, ids=ids) as second:
        assert (await second.read(Stock, "s1", "tea")).value["on_hand"] == 7
        assert second.status()["pending"] == 1
        assert (await second.run("receive", store="s1", sku="tea", qty=2, command_id="c2")).result == 7
        assert second.status()["scopes"]["s1"]["synced_at"] >= known
        assert second.command("c2").status == "pending"
        route.mend()
        await second.offline()
        await second.online()
        await until(lambda: second.status()["pending"] == 0)
    assert on_hand(cloud) == 7


async def test_aeroplane_mode_survives_a_restart(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids) as first:
        await online(first)
        await first.offline()
    connections = route.connections
    async with EdgeAgent(app, config, route=route, ids=ids) as second:
        status = second.status()
        assert (status["connection"], status["offline_by_choice"]) == ("OFFLINE", True)
        await second.run("receive", store="s1", sku="tea", qty=1)
        assert route.connections == connections
        await second.online()
        await online(second)
    async with EdgeAgent(app, config, route=route, ids=ids) as third:
        await online(third)


async def test_a_folder_has_one_agent(agent: EdgeAgent, config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> None:
    with pytest.raises(StoreBusy, match="held by another process") as raised:
        async with EdgeAgent(app, config, route=route, ids=ids):
            pass
    assert raised.value.remedy
    assert (await agent.run("receive", store="s1", sku="tea", qty=5)).result == 5


async def test_a_start_that_fails_leaves_the_folder_free(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr("driftlog_edge.assembly.Views", lambda *args: 1 // 0)
        async with EdgeAgent(app, config, route=route, ids=ids):
            pass
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert agent.status()["pending"] == 0


async def test_two_waiting_commands_build_on_each_other_even_when_the_disk_has_no_room(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.journal.MAX_WAITING", 2)

    answers = await asyncio.gather(*(agent.run("receive", store="s1", sku="tea", qty=1) for _ in range(50)))

    assert sorted(seq for a in answers for _, _, seq in a.dots) == list(range(1, 51))
    assert sorted(a.result for a in answers) == list(range(1, 51))  # type: ignore[type-var]


async def test_a_full_disk_stops_nothing_for_ever(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    honest, full = RocksStore.write, True

    def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
        if full:
            raise DiskFull("no space left", "free some")
        honest(self, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", write)
    with pytest.raises(DiskFull):
        await agent.run("receive", store="s1", sku="tea", qty=1)
    cloud.write(TEA, "on_hand", "increment", 40)
    await until(lambda: "no space left" in agent.status()["problem"])
    with pytest.raises(NotFound):
        await agent.read(Stock, "s1", "tea")

    full = False

    await until(lambda: agent.status()["problem"] == "")
    reading = await agent.read(Stock, "s1", "tea", consistency="strong", seconds=10)
    assert reading.value["on_hand"] == 40
    answer = await agent.run("receive", store="s1", sku="tea", qty=2, wait="merged", seconds=10)
    assert (answer.result, on_hand(cloud)) == (42, 42)


async def test_what_follows_something_that_could_not_be_kept_is_read_again_after_it(
    agent: EdgeAgent, route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    honest, full, pause = RocksStore.write, True, asyncio.Event()
    refused: set[Family] = set()

    def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
        if full:
            refused.update(family for family, _ in writes)
            raise DiskFull("no space left", "free some")
        honest(self, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", write)
    monkeypatch.setattr(agent._sync.clients, "_begin_anew", lambda seconds: pause.wait())
    cloud.write(TEA, "on_hand", "increment", 40)
    # not any write, as that of the ages or of what the broker has: what came in
    await until(lambda: Family.CONFIRMED in refused and "no space left" in agent._sync.problem)
    full = False
    looked = route.looked
    cloud.write(TEA, "on_hand", "increment", 2)
    await until(lambda: route.looked > looked)
    assert "no space left" in agent._sync.problem, "it is not over before it was read again"
    with pytest.raises(NotFound):
        await agent.read(Stock, "s1", "tea")

    await agent.offline()
    await agent.online()

    await until(lambda: agent.status()["problem"] == "")
    await until(lambda: agent.page(Stock, "s1"))
    assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 42
    pause.set()


async def test_noise_in_the_topics_is_counted_and_stops_nothing(agent: EdgeAgent, cloud: Cloud) -> None:
    place = partition_of("s1", PARTITIONS)
    cloud.publish("retail.state", place, b"noise", b"noise")
    cloud.publish("retail.receipts", place, b"store-1", b"noise")
    cloud.publish("retail.conflicts", place, b"x", b"\x00\x00\x00\x00\x09noise")

    await agent.run("receive", store="s1", sku="tea", qty=2, wait="merged", seconds=10)

    await until(lambda: agent.status()["unreadable_records"] == 3)


async def test_restarted_on_a_full_disk_it_serves_reads_and_says_why_it_writes_nothing(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids) as first:
        await first.run("receive", store="s1", sku="tea", qty=5, command_id="c1")
    honest, free = opening._open, 0

    def opened(folder: Path, access: object = None, **options: object) -> object:
        if free == 0 and access is None:
            raise DiskFull(f"no space left for {folder}", "free space")
        return honest(folder, access, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "_open", opened)
    monkeypatch.setattr(rocks.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert (await agent.read(Stock, "s1", "tea")).value["on_hand"] == 5
        assert (await agent.run("receive", store="s1", sku="tea", qty=5, command_id="c1")).result == 5
        assert "no space left" in agent.status()["problem"]
        with pytest.raises(DiskFull):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        await agent.offline()
        free = 1 << 30
        assert (await agent.run("receive", store="s1", sku="tea", qty=2)).result == 7
        await agent.online()
        await until(lambda: agent.status()["problem"] == "" and on_hand(cloud) == 7)


# -- freshness


async def test_a_command_is_answered_in_the_time_given_although_the_disk_hangs(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it stands once the disk goes on: under its id it counts once."""
    go, write = threading.Event(), RocksStore.write

    def hanging(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        go.wait(60)
        write(store, writes, sync=sync)

    async def receive(command_id: str) -> None:
        await agent.run("receive", store="s1", sku="tea", qty=1, command_id=command_id, seconds=0.05)

    monkeypatch.setattr(RocksStore, "write", hanging)
    try:
        for _ in range(2):
            with pytest.raises(TimedOut, match="c1 is on the disk") as late:
                await receive("c1")
            assert late.value.command_id == "c1"
        monkeypatch.setattr(journal, "MAX_WAITING", 1)
        with pytest.raises(TimedOut, match="nothing has changed") as full:
            await receive("c2")
        assert full.value.command_id == ""
    finally:
        go.set()
    await until(lambda: agent._store.get(Family.COMMANDS, b"c1"))
    assert (await agent.run("receive", store="s1", sku="tea", qty=1, command_id="c1")).result == 1
    await until(lambda: on_hand(cloud) == 1)


async def test_what_cannot_be_read_once_does_not_end_the_looking_after_all_else(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1
        if looked < 3:
            raise StoreFailed("input/output error")

    monkeypatch.setattr(agent._sync.support, "tick", look)
    await until(lambda: looked > 5)


async def test_what_of_a_newer_release_is_counted_once_a_partition_however_many_scopes_it_has(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.hold([f"s{number}" for number in range(40)])
    looked: list[bytes] = []
    for name in ("scan", "scan_keys"):
        scan = getattr(agent._vitals._journal, name)

        def noting(
            family: Family, prefix: bytes, after: bytes = b"", scan: Callable[..., Iterator[Any]] = scan
        ) -> Iterator[Any]:
            looked.extend([prefix] if family is Family.UNREAD else [])
            return scan(family, prefix, after)

        monkeypatch.setattr(agent._vitals._journal, name, noting)
    assert len(agent.status()["scopes"]) == 40
    assert len(looked) == PARTITIONS + 1, "four of one space, one of the other"
