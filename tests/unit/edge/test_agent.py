"""An agent with a cloud beside it: offline and back, restarts, a full disk, a link that comes and goes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotFound, NotReady, Offline, StoreBusy, TimedOut
from driftlog_edge.link import clients as clients_module
from driftlog_edge.link import signal as signal_module
from driftlog_edge.link import sync as sync_module
from driftlog_edge.ports import Family, Sealed, Writes
from driftlog_edge.store import journal, opening, rocks
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.topics import HEARTBEATS
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import PARTITIONS, Stock, app
from tests.unit.edge.waiting import until

TEA = DocumentId("Stock", "s1", "tea")


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens now and then happens at once."""
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(signal_module, "PROBE_SOON_SECONDS", 0.01)
    monkeypatch.setattr(signal_module, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(clients_module, "backoff", lambda *args: 0.01)
    monkeypatch.setattr(signal_module, "backoff", lambda *args: 0.01)
    monkeypatch.setattr("driftlog_edge.outgoing.pump.backoff", lambda *args: 0.01)
    monkeypatch.setattr("driftlog_edge.link.connectivity.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("driftlog_edge.link.connectivity.GIVE_UP_SECONDS", 0.0)


async def online(agent: EdgeAgent) -> None:
    await until(lambda: agent.status()["connection"] == "ONLINE")


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
    assert moves == []
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
    assert moves


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
