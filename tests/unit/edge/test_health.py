"""How an agent says it is: its link, what is in the way, whether it is ready; and what it does about a queue that stands still."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotReady
from driftlog_edge.ports import Family, Sealed, Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.topics import HEARTBEATS
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import Stock, app
from tests.unit.edge.waiting import online, pages, until

TEA = DocumentId("Stock", "s1", "tea")

pytestmark = pytest.mark.usefixtures("quick_ticks")


async def test_a_quiet_link_is_asked_and_ages_stay_small(agent: EdgeAgent) -> None:
    await online(agent)
    first = agent.status()["scopes"]["s1"]["synced_at"]
    await until(lambda: agent.status()["scopes"]["s1"]["synced_at"] > first)
    assert agent.status()["connection"] == "ONLINE"


async def test_a_link_that_is_gone_is_noticed_without_traffic_and_so_is_its_return(
    agent: EdgeAgent, route: CloudRoute
) -> None:
    await online(agent)
    route.cut()
    await until(lambda: agent.status()["connection"] == "OFFLINE")
    route.mend()
    await online(agent)


async def test_a_replica_that_is_behind_is_never_said_to_be_in_step(
    agent: EdgeAgent, route: CloudRoute, cloud: Cloud
) -> None:
    await online(agent)
    cloud.listeners.clear()  # the feed does not hear of it
    cloud.write(TEA, "on_hand", "increment", 3)

    async def asked_twice() -> None:
        asked = route.asked
        await until(lambda: route.asked >= asked + 2)

    await asked_twice()
    known = agent.status()["scopes"]["s1"]["synced_at"]
    await asked_twice()
    assert agent.status()["scopes"]["s1"]["synced_at"] == known

    route.wake()
    await until(lambda: agent.status()["scopes"]["s1"]["synced_at"] > known)


# -- heartbeats


async def test_an_agent_tells_how_it_is_when_it_comes_online_and_only_then(
    agent: EdgeAgent, route: CloudRoute, ids: FixedIds
) -> None:
    await until(lambda: len(route.told) == 1)
    topic, key, value = route.told[0]
    beat = RecordCodecs(ids).decode_heartbeat(value)
    assert (topic, key) == (HEARTBEATS, b"store-1")
    assert (beat.device_id, beat.replica, beat.connection, beat.pending) == (
        "store-1",
        agent.status()["replica"],
        "ONLINE",
        0,
    )
    assert beat.disk_bytes > 0 and beat.versions["app"] == "shop"

    await agent.offline()
    await asyncio.sleep(0.1)
    assert len(route.told) == 1, "nothing is told without a way, and nothing more than twice a minute with one"


async def test_status_counts_without_looking_at_every_pending_command(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from driftlog_edge.store.journal import Journal

    await agent.offline()
    for _ in range(20):
        await agent.run("receive", store="s1", sku="tea", qty=1)
    scanned: list[Family] = []
    honest = Journal.scan
    monkeypatch.setattr(
        Journal, "scan", lambda self, family, *rest: [scanned.append(family), honest(self, family, *rest)][1]
    )

    assert agent.status()["pending"] == 20

    assert Family.PENDING not in scanned


# -- what is wrong, in words


async def test_what_is_sent_and_never_answered_names_the_workers(agent: EdgeAgent, route: CloudRoute) -> None:
    await online(agent)
    route.merging = False
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="shipped", seconds=10)
    assert agent.status()["problem"] == ""
    with pytest.MonkeyPatch.context() as hasty:
        hasty.setattr("driftlog_edge.link.replies.UNANSWERED_SECONDS", 0.0)
        assert "driftlog worker" in agent.status()["problem"]
        route.work_off()
        await until(lambda: agent.status()["problem"] == "")


async def test_offline_says_why_and_aeroplane_mode_is_no_problem(agent: EdgeAgent, route: CloudRoute) -> None:
    await online(agent)
    route.cut()
    await until(lambda: agent.status()["connection"] == "OFFLINE")
    assert agent.status()["problem"] == "the broker does not answer"
    await agent.offline()
    assert (agent.status()["problem"], agent.status()["offline_by_choice"]) == ("", True)


async def test_the_agent_logs_its_start_its_connection_and_what_was_rejected(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud
) -> None:
    cloud.rejects["c1"] = "recount"
    with structlog.testing.capture_logs() as lines:
        async with EdgeAgent(app, config, route=route, ids=ids) as agent:
            await online(agent)
            await agent.run("receive", store="s1", sku="tea", qty=1, command_id="c1", wait="merged", seconds=10)
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("agent runs", "agent ends")
    assert "ONLINE" in [line.get("state") for line in lines if line["event"] == "connection"]
    (rejected,) = (line for line in lines if line["event"] == "command rejected")
    assert (rejected["command_id"], rejected["code"]) == ("c1", "recount")


async def test_a_pause_that_was_meant_for_an_outage_ends_with_it(
    agent: EdgeAgent, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    route.cut()
    await until(lambda: agent.status()["connection"] == "OFFLINE")
    hurried = []
    monkeypatch.setattr(agent._sync.signal, "_back", lambda: hurried.append(True))
    route.mend()
    await online(agent)
    assert hurried


async def test_what_the_cloud_defers_is_a_problem_with_its_reason_until_it_is_taken(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.outgoing.held.PAUSE_SECONDS", 0.0)
    await online(agent)
    cloud.rejects["c1"] = "undeclared"
    await agent.run("receive", store="s1", sku="tea", qty=1, command_id="c1")
    await until(lambda: "does not take 1 commands for now: undeclared" in agent.status()["problem"])
    del cloud.rejects["c1"]
    await until(lambda: agent.command("c1").status == "merged")
    await until(lambda: agent.status()["problem"] == "")  # it is said as soon as those who send have heard of it, too


async def test_a_topic_that_takes_no_batch_is_named(agent: EdgeAgent, route: CloudRoute) -> None:
    await online(agent)
    asked = agent._sync.delivered

    def missing(batch: Sealed, error: str | None, *, gone: bool) -> None:
        asked(batch, "unknown topic", gone=gone)

    route.merging = False
    with pytest.MonkeyPatch.context() as gone:
        gone.setattr(agent._sync, "delivered", missing)
        await agent.run("receive", store="s1", sku="tea", qty=1, command_id="c1")
        await until(lambda: agent.status()["problem"] == "retail.ops takes no batch: unknown topic")
    route.work_off()  # also what was delivered between the last look and this
    await until(lambda: agent.command("c1").status == "merged")
    await until(lambda: agent.status()["problem"] == "")  # its receipt may come before the word that it was delivered


async def test_conflicts_are_told_in_the_log_once(agent: EdgeAgent, cloud: Cloud) -> None:
    await online(agent)
    versions = (Version("store-1.a", 1, 9, 7, 1), Version("store-2.b", 1, 8, 7, 2))
    opened = Conflict("x1", TEA, "price", versions, "review", "register", 7, 8, 99, ConflictStatus.OPEN)
    with structlog.testing.capture_logs() as lines:
        cloud.publish_conflict(opened)
        cloud.publish_conflict(opened)
        await until(agent.conflicts)
        cloud.publish_conflict(replace(opened, status=ConflictStatus.RESOLVED))
        await until(lambda: not agent.conflicts())
    told = [(line["id"], line["status"], line["field"]) for line in lines if line["event"] == "conflict"]
    assert told == [("x1", "open", "price"), ("x1", "resolved", "price")]


def unready(agent: EdgeAgent) -> str:
    try:
        agent.ready()
    except NotReady as error:
        return str(error)
    return ""


async def test_ready_is_who_takes_writes_and_has_read_to_the_end(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    route.cut()
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=1)
        assert "not read to the end yet: retail.state[" in unready(agent)
        route.mend()
        await until(lambda: not unready(agent))
        await agent.offline()
        assert unready(agent) == ""
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert unready(agent) == "", "offline it can do all that it could"
        honest, full = RocksStore.write, True

        def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
            if full:
                raise DiskFull("no space left", "free some")
            honest(self, writes, sync=sync)

        monkeypatch.setattr(RocksStore, "write", write)
        with pytest.raises(DiskFull):
            await agent.run("receive", store="s1", sku="tea", qty=1)
        assert unready(agent) == "the store takes no writes: no space left"
        full = False
        await agent.run("receive", store="s1", sku="tea", qty=1)
        assert unready(agent) == ""


async def test_a_queue_that_waits_and_never_flies_is_noticed(
    agent: EdgeAgent, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is on its way, and something should be: the link begins anew."""
    await online(agent)
    monkeypatch.setattr(agent._sync._shipper, "next", lambda: None)
    await agent.run("receive", store="s1", sku="tea", qty=1)
    assert agent._sync.idle
    monkeypatch.setattr(agent._sync.watchdog, "_stall", 0.05)
    before = route.connections
    await until(lambda: route.connections > before)


async def test_what_others_write_does_not_move_the_own_queue(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    moves: list[str] = []
    monkeypatch.setattr(agent._sync.watchdog, "moved", lambda now: moves.append("moved"))
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 3)
    await until(lambda: agent.page(Stock, "s1"))
    cloud.write(
        DocumentId("Stock", "s1", "rum"), "on_hand", "increment", 3
    )  # by when it is there the first is dealt with
    await until(lambda: pages(agent, Stock, "s1", ["rum", "tea"]))
    assert moves == []
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
    assert moves
