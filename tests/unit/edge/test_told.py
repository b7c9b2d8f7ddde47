"""What an agent says of itself in its log: why it is offline, why it is not in step, and nothing twice."""

from __future__ import annotations

import shutil

import pytest
import structlog

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.store.lives import FORKED
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.topics import HEARTBEATS
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import PARTITIONS, app
from tests.unit.edge.waiting import online, until

pytestmark = pytest.mark.usefixtures("quick_ticks")

HOME = f"retail/{partition_of('s1', PARTITIONS)}"
Lines = list[dict[str, object]]


def told(lines: Lines) -> list[tuple[object, object]]:
    return [(line["state"], line["problem"]) for line in lines if line["event"] == "connection"]


async def test_an_agent_that_never_gets_online_says_why(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> None:
    route.cut()
    with structlog.testing.capture_logs() as lines:
        async with EdgeAgent(app, config, route=route, ids=ids) as agent:
            await until(lambda: told(lines))
            assert told(lines) == [("OFFLINE", agent.status()["problem"])]
            assert agent.status()["problem"]


async def test_a_problem_that_comes_while_online_is_told_once_and_so_is_its_end(
    agent: EdgeAgent, route: CloudRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    await online(agent)
    route.merging = False
    with structlog.testing.capture_logs() as lines:
        with monkeypatch.context() as hasty:
            hasty.setattr("driftlog_edge.link.replies.UNANSWERED_SECONDS", 0.0)
            await agent.run("receive", store="s1", sku="tea", qty=1, wait="shipped", seconds=10)
            await until(lambda: told(lines))
            assert "is a worker running?" in str(told(lines)[0][1])
            for _ in range(3):
                agent._sync.signal.tell()
        route.merging = True
        await until(lambda: agent.status()["problem"] == "")
        await until(lambda: len(told(lines)) == 2)
    assert told(lines)[1] == ("ONLINE", None)


async def test_a_figure_that_grows_is_no_other_problem(agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    await online(agent)
    with structlog.testing.capture_logs() as lines:
        for records in range(3):
            monkeypatch.setattr(agent._sync.signal, "_problem", lambda n=records: f"read again ({n} records so far)")
            agent._sync.signal.tell()
        assert len(told(lines)) == 1


async def test_aeroplane_mode_is_told_without_a_problem(agent: EdgeAgent) -> None:
    await online(agent)
    with structlog.testing.capture_logs() as lines:
        await agent.offline()
        await until(lambda: told(lines))
    assert told(lines) == [("OFFLINE", None)]


async def test_a_new_life_is_told_in_the_log_and_to_the_fleet(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By why it began, what it took along, and how far its chains have come."""
    monkeypatch.setattr("driftlog_edge.link.heartbeats.LONGEST_SECONDS", 0.0)
    copy = config.data_dir.with_name("copy")

    def beats() -> list[Heartbeat]:
        return [RecordCodecs(ids).decode_heartbeat(v) for t, _, v in list(route.told) if t == HEARTBEATS]

    async with EdgeAgent(app, config, route=route, ids=ids) as first:
        old_life = first.status()["replica"]
        await first.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
        await until(lambda: [b for b in beats() if b.heads == {HOME: 1}])
        assert {(b.replica, b.why, b.rebased, b.review) for b in beats()} == {(old_life, "", 0, 0)}
    shutil.copytree(config.data_dir, copy)
    async with EdgeAgent(app, config, route=route, ids=ids) as first:
        await first.run("receive", store="s1", sku="tea", qty=10, wait="merged", seconds=10)
    route.told.clear()
    with structlog.testing.capture_logs() as lines:
        async with EdgeAgent(app, config.model_copy(update={"data_dir": copy}), route=route, ids=ids) as other:
            await other.run("receive", store="s1", sku="tea", qty=100, wait="merged", seconds=10)
            new_life = other.status()["replica"]
            await until(lambda: [b for b in beats() if b.replica == new_life and b.pending == 0])
    assert new_life != old_life
    (began,) = [line for line in lines if "goes on under a new life" in line["event"]]
    assert (began["replica"], began["why"], began["log_level"]) == (new_life, FORKED, "warning")
    last = beats()[-1]
    assert (last.why, last.rebased, last.review) == (FORKED, 1, 0)
    assert last.heads == {HOME: 2}, "the batch that ended the old life, and the one with what came along"
