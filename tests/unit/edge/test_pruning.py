"""What is done is forgotten after the kept horizon, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.ports import Family
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.housekeeping import LOGS, TRANSIENT
from driftlog_edge.store.pruning import Pruning
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.waiting import until

pytestmark = pytest.mark.usefixtures("quick_ticks")

S1 = partition_of("s1", PARTITIONS)
WEEK_MS = 7 * 24 * 3_600_000


@pytest.fixture(autouse=True)
def keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.pruning.KEEP_LAST", 1)


def prune(replica: Replica, pruning: Pruning | None = None) -> None:
    pruning = pruning or Pruning(replica.journal, replica.views.backlog, replica.clock.wall_ms, WEEK_MS)
    while (writes := pruning.step()) is not None:
        replica.journal.stage(writes, sync=False)
    replica.commit()


def sync(replica: Replica, cloud: Cloud) -> None:
    for batch in replica.ship():
        cloud.merge(batch)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)


def logged(replica: Replica) -> list[str]:
    return sorted(key.decode() for key, _ in replica.store.scan(Family.COMMANDS, b""))


def receive(replica: Replica, *ids: str) -> None:
    for command_id in ids:
        replica.do("receive", command_id, store="s1", sku="tea", qty=1)


def test_what_is_merged_and_old_leaves_both_logs_and_the_value_stays(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives()
    receive(replica, "a", "b")
    sync(replica, cloud)
    replica.clock.pass_seconds(8 * 24 * 3600)
    receive(replica, "new")

    prune(replica)

    assert logged(replica) == ["new"]
    assert len(list(replica.store.scan(Family.OPLOG, b""))) == 1
    assert replica.on_hand("tea") == 3
    replica = lives(clock=replica.clock)
    assert replica.on_hand("tea") == 3
    sync(replica, cloud)
    assert replica.entry("new").status is Status.MERGED


def test_within_the_horizon_a_repeated_key_is_answered_and_after_it_it_is_new(replica: Replica, cloud: Cloud) -> None:
    receive(replica, "a")
    replica.do("look", "looked", store="s1", sku="tea")
    sync(replica, cloud)
    replica.clock.pass_seconds(6 * 24 * 3600)
    receive(replica, "b")
    prune(replica)
    receive(replica, "a")
    assert replica.on_hand("tea") == 2
    assert replica.do("look", "looked", store="s1", sku="tea").entry.result == 1, "as it was answered"

    replica.clock.pass_seconds(2 * 24 * 3600)
    prune(replica)
    assert logged(replica) == ["b"]
    assert replica.do("look", "looked", store="s1", sku="tea").entry.result == 2


@pytest.mark.parametrize("code", ["", "undeclared", "builds_on_refused"])
def test_what_is_not_done_is_kept_however_old(replica: Replica, cloud: Cloud, code: str) -> None:
    receive(replica, "waits")
    if code:
        cloud.rejects["waits"] = code
        sync(replica, cloud)
    replica.clock.pass_seconds(365 * 24 * 3600)
    receive(replica, "new")

    prune(replica)

    assert logged(replica) == ["new", "waits"]
    assert len(list(replica.store.scan(Family.OPLOG, b""))) == 2


@pytest.mark.parametrize("at_once", [2, 100])
def test_a_stamp_of_years_ahead_keeps_nothing_here_for_years(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("driftlog_edge.store.pruning.LOOK_AT", at_once)
    years_ms = 4 * 365 * 24 * 3_600_000
    receive(replica, "before")
    replica.clock.ms += years_ms
    receive(replica, *(f"ahead {number}" for number in range(5)))
    replica.clock.ms -= years_ms
    sync(replica, cloud)
    replica.executor.stamps.contradicted(replica.clock.ms + years_ms, replica.clock.ms)
    pruning = Pruning(replica.journal, replica.views.backlog, replica.clock.wall_ms, WEEK_MS)
    receive(replica, "a", "b", "c")
    sync(replica, cloud)

    prune(replica, pruning)
    assert len(logged(replica)) == 9, "all of it is young, whatever the stamps say"
    replica.clock.pass_seconds(6 * 24 * 3600)
    receive(replica, "d")
    sync(replica, cloud)
    replica.clock.pass_seconds(2 * 24 * 3600)
    receive(replica, "new")
    prune(replica, pruning)
    assert logged(replica) == ["d", "new"]


def test_a_clock_that_jumps_takes_no_answer_of_the_newest_away(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.pruning.KEEP_LAST", 3)
    receive(replica, *"abcde")
    sync(replica, cloud)
    replica.clock.pass_seconds(365 * 24 * 3600)

    prune(replica)

    assert logged(replica) == ["c", "d", "e"]


def test_a_pass_looks_at_what_is_old_once(replica: Replica, cloud: Cloud) -> None:
    """The disk's history does not make each pass dearer."""
    receive(replica, *(f"c{number}" for number in range(250)))
    replica.clock.pass_seconds(8 * 24 * 3600)
    receive(replica, "new")
    pruning = Pruning(replica.journal, replica.views.backlog, replica.clock.wall_ms, WEEK_MS)
    steps = []
    while (writes := pruning.step()) is not None:
        steps.append(writes)
    assert steps == [{}, {}, {}], "nothing is done, so nothing goes"
    assert pruning.step() is None
    pruning.from_the_start()
    assert pruning.step() == {}


async def test_the_agent_gives_the_disk_back(agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.housekeeping.RECLAIM_AFTER", 1)
    reclaimed: list[bool] = []
    monkeypatch.setattr("driftlog_edge.store.rocks.RocksStore.reclaim", lambda self, families: reclaimed.append(True))
    agent._housekeeping._pruning._keep_ms = -1
    for number in range(3):
        await agent.run("receive", store="s1", sku="tea", qty=1, command_id=f"c{number}", wait="merged", seconds=10)
    await agent.tidy()
    assert reclaimed
    assert [entry_of(agent._store, f"c{number}") is None for number in range(3)] == [True, True, False]
    assert (await agent.read("Stock", "s1", "tea")).value["on_hand"] == 3


async def give_names(agent: EdgeAgent, count: int) -> None:
    """Commands c0, c1, ..., of 3,000 characters each that nothing makes shorter."""
    for number in range(count):
        name = os.urandom(1_500).hex()
        await agent.run("rename", command_id=f"c{number}", store="s1", sku=f"sku-{number}", name=name, durability="os")


async def test_the_disk_gets_back_what_a_queue_took_when_all_of_it_is_merged(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited lay there twice: as commands, which stay to be read, and as batches on their way out, with both in the write-ahead log."""
    monkeypatch.setattr("driftlog_edge.store.housekeeping.HELD_BACK_BYTES", 100_000)
    store = agent._store
    await agent.offline()
    await give_names(agent, 300)
    await agent.tidy()
    waiting = store.disk_bytes()
    assert waiting > 900_000 and store.held_back(TRANSIENT) > 900_000, "nothing is given back while it waits"
    await agent.online()
    await until(lambda: agent.status()["pending"] == 0)
    drained = store.disk_bytes()
    assert drained > 2 * waiting, "on its way it takes more"
    await agent.tidy()
    assert store.held_back(TRANSIENT) < 20_000, "what is left are the tables' own filters and indices"
    assert store.disk_bytes() < drained - 1_800_000
    assert agent.command((await agent.run("receive", store="s1", sku="sku-1", qty=1)).command_id).status == "pending"
    monkeypatch.setattr(RocksStore, "reclaim", lambda *_: pytest.fail("there is nothing to give back"))
    await until(lambda: agent.status()["pending"] == 0)
    await agent.tidy()


async def test_what_commands_had_asked_is_given_back_when_they_are_decided(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.housekeeping.HELD_BACK_BYTES", 100_000)
    store = agent._store
    await agent.offline()
    await give_names(agent, 100)
    store.reclaim((Family.BODIES,))  # all that is in memory is put into files, as the queue grows
    assert store.superseded(Family.COMMANDS)[0] == 0
    await agent.online()
    await until(lambda: agent.status()["pending"] == 0)
    await agent.tidy()
    goes, total = store.superseded(Family.COMMANDS)
    assert (goes, total < 100_000) == (0, True), (goes, total)
    assert agent.command("c0").status == "merged"


async def test_a_long_history_is_not_written_anew_for_a_short_outage(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.housekeeping.HELD_BACK_BYTES", 100_000)
    reclaimed: list[Family] = []
    monkeypatch.setattr(RocksStore, "held_back", lambda *_: 0)
    monkeypatch.setattr(RocksStore, "reclaim", lambda _, families: reclaimed.extend(families))
    for goes, total, worth in ((100_000, 400_001, False), (99_999, 99_999, False), (100_000, 400_000, True)):
        monkeypatch.setattr(
            RocksStore,
            "superseded",
            lambda _, family: (goes, total) if family is Family.COMMANDS else (0, 0),  # noqa: B023
        )
        await agent.tidy()
        assert reclaimed == [Family.COMMANDS] * worth


def test_what_was_deleted_takes_no_disk_after_reclaiming(replica: Replica) -> None:
    """Neither in the tables nor in the write-ahead log, which another family may hold back."""
    empty = replica.store.disk_bytes()
    rows = [(Family.OPLOG, b"%06d" % number) for number in range(5_000)]
    replica.store.write({row: os.urandom(400) for row in rows}, sync=False)
    replica.store.write({(Family.CONFIRMED, b"k"): b"v"}, sync=False)
    replica.store.write(dict.fromkeys(rows), sync=False)
    assert replica.store.disk_bytes() > empty + 2_000_000
    replica.store.reclaim(LOGS)
    assert replica.store.disk_bytes() < empty + 500_000
    assert replica.store.get(Family.CONFIRMED, b"k") == b"v"


def test_a_store_that_is_closed_while_it_reclaims_leaves_its_folder_free(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "store")
    store.write({(Family.OPLOG, b"%06d" % number): os.urandom(400) for number in range(20_000)}, sync=False)
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(store.reclaim, LOGS)
        store.close()
        RocksStore(tmp_path / "store").close()
        under_way.result(30)
