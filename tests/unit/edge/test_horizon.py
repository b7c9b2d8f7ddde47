"""An agent says in time that the cloud will have forgotten what it needs to go on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from driftlog.cli import edge_questions
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import metrics
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

DAY = 86_400.0


@pytest.fixture
def agents(config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock) -> Callable[[], EdgeAgent]:
    settings = config.model_copy(update={"scopes": ["s1"]})
    return lambda: EdgeAgent(app, settings, route=route, ids=ids, clock=clock)


def told(agent: EdgeAgent) -> tuple[float | None, str]:
    """How many days are left, and what people are told."""
    found: dict[str, Any] = agent.status()["snapshot"]
    left = found["needed_in_seconds"]
    return None if left is None else round(left / DAY, 1), found["warning"]


async def test_it_warns_in_the_last_tenth_of_the_time_and_after_it(
    agents: Callable[[], EdgeAgent], clock: HandClock
) -> None:
    async with agents() as agent:
        await until(lambda: told(agent)[0] == 30)
        await agent.offline()
        clock.pass_seconds(26 * DAY)
        assert told(agent) == (4, "")
        assert b"driftlog_edge_snapshot_warning 0.0" in metrics.render(agent)
        clock.pass_seconds(1.5 * DAY)
        assert told(agent) == (2.5, "2.5 d left before this device needs a snapshot: connect it")
        assert b"driftlog_edge_snapshot_warning 1.0" in metrics.render(agent)
        clock.pass_seconds(3 * DAY)
        assert told(agent)[0] == -0.5
        assert "longer than the cloud remembers: it needs a snapshot" in told(agent)[1]
        assert b"driftlog_edge_snapshot_needed_in_seconds -" in metrics.render(agent)
        await agent.online()
        await until(lambda: told(agent) == (30, ""))


async def test_it_goes_by_what_the_broker_said_when_it_was_last_there(
    agents: Callable[[], EdgeAgent], cloud: Cloud, route: CloudRoute, clock: HandClock
) -> None:
    cloud.tombstones_kept = 10 * DAY
    async with agents() as agent:
        await until(lambda: told(agent)[0] == 10)
    route.cut()
    clock.pass_seconds(9.2 * DAY)
    async with agents() as agent:
        assert told(agent) == (0.8, "19.2 h left before this device needs a snapshot: connect it")
    cloud.tombstones_kept = 20 * DAY
    route.mend()
    async with agents() as agent:
        await until(lambda: told(agent) == (20, ""))


async def test_what_an_operator_changes_counts_for_who_runs_from_the_next_connection_on(
    agents: Callable[[], EdgeAgent], cloud: Cloud, clock: HandClock
) -> None:
    async with agents() as agent:
        await until(lambda: told(agent)[0] == 30)
        cloud.tombstones_kept = 10 * DAY
        await agent.offline()
        await agent.online()
        await until(lambda: told(agent)[0] == 10)
        await agent.offline()
        clock.pass_seconds(9.5 * DAY)
        assert told(agent) == (0.5, "12.0 h left before this device needs a snapshot: connect it")


async def test_who_has_read_nothing_yet_needs_no_warning(
    agents: Callable[[], EdgeAgent], route: CloudRoute, clock: HandClock
) -> None:
    route.up = False
    async with agents() as agent:
        clock.pass_seconds(90 * DAY)
        assert told(agent) == (None, "")
        assert b"snapshot_needed_in_seconds" not in metrics.render(agent)


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"needed_in_seconds": 29.5 * DAY, "warning": ""}, "needed after 29.5 d more away"),
        ({"needed_in_seconds": 2 * DAY, "warning": "2.0 d left: connect it"}, "WARNING: 2.0 d left: connect it"),
        ({"needed_in_seconds": None, "warning": ""}, "not read yet"),
    ],
)
def test_the_status_of_the_command_line_shows_it(
    facts: dict[str, Any], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"budget_bytes": None, "warning": ""}
    status = {"scopes": {}, "disk": disk, "disk_bytes": 1, "snapshot": facts}
    monkeypatch.setattr(edge_questions, "call", lambda *_: status)
    assert shown in CliRunner().invoke(edge_questions.app, ["status"]).output
