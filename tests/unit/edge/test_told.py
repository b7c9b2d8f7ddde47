"""What an agent says of itself in its log: why it is offline, why it is not in step, and nothing twice."""

from __future__ import annotations

import pytest
import structlog

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.test_agent import online, quick_ticks
from tests.unit.edge.waiting import until

__all__ = ["quick_ticks"]

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
