"""A command that asks for fresh data runs on no other, and says how old it is; a read says it of each collection that has a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from typer.testing import CliRunner

from driftlog.cli import edge_questions
from driftlog_edge import Call, EdgeAgent, EdgeConfig
from driftlog_edge.asking.intent import Earlier
from driftlog_edge.errors import Stale
from driftlog_edge.http_api import build
from driftlog_schemas.contract import Refused
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import Airspace, Stock, app
from tests.unit.edge.waiting import until

AREA = {"store": "s1", "name": "a4"}
DOCUMENT = DocumentId("Airspace", "s1", "a4")


@pytest.fixture
async def drone(config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock) -> AsyncIterator[EdgeAgent]:
    """An agent that was in step a moment ago, and has lost its network."""
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        await agent.offline()
        yield agent


async def test_it_runs_while_the_data_is_young_enough_and_is_refused_afterwards(
    drone: EdgeAgent, clock: HandClock
) -> None:
    assert (await drone.run("take_off", **AREA)).result == 1
    clock.pass_seconds(61)
    with pytest.raises(Stale, match=r"take_off wants data that is at most 60 s old; scope 's1' was in step") as refused:
        await drone.run("take_off", **AREA)
    assert refused.value.age_seconds is not None and refused.value.age_seconds >= 61
    reading = await drone.read(Airspace, "s1", "a4")
    assert reading.value["flights"] == 1, "nothing has changed"


async def test_another_command_runs_on_whatever_there_is(drone: EdgeAgent, clock: HandClock) -> None:
    clock.pass_seconds(86_400)
    assert (await drone.run("receive", store="s1", sku="tea", qty=2)).result == 2
    assert (await drone.run("stock_take", store="s1", sku="tea")).result == 2, "what it looks at has no limit"


async def test_a_command_may_ask_for_what_its_collections_say(drone: EdgeAgent, clock: HandClock) -> None:
    clock.pass_seconds(590)
    assert (await drone.run("survey", **AREA)).result is False
    clock.pass_seconds(20)
    with pytest.raises(Stale, match="at most 600 s old"):
        await drone.run("survey", **AREA)


async def test_what_the_app_says_of_stale_data_is_not_told(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock, cloud: Cloud
) -> None:
    cloud.write(DOCUMENT, "closed", "set", True)
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        await agent.offline()
        with pytest.raises(Refused, match="closed"):
            await agent.run("take_off", **AREA)
        clock.pass_seconds(61)
        with pytest.raises(Stale):
            await agent.run("take_off", **AREA)


async def test_a_replica_that_was_never_in_step_is_stale(config: EdgeConfig, ids: FixedIds, route: CloudRoute) -> None:
    route.up = False
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        with pytest.raises(Stale, match="was never in step yet") as refused:
            await agent.run("take_off", **AREA, seconds=0.2)
    assert refused.value.age_seconds is None


async def test_where_there_is_a_way_to_the_cloud_it_is_asked_first(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    clock: HandClock,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The link is idle, so what is known of it is older than what the command wants."""
    monkeypatch.setattr("driftlog_edge.link.lookout.LOOK_SECONDS", 1e6)
    monkeypatch.setattr("driftlog_edge.link.freshness.ASK_SECONDS", 1e6)
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        clock.pass_seconds(61)
        cloud.write(DOCUMENT, "closed", "set", True)
        with pytest.raises(Refused, match="closed"):
            await agent.run("take_off", **AREA, seconds=20)


async def test_of_several_commands_only_those_are_refused_that_ask(drone: EdgeAgent, clock: HandClock) -> None:
    clock.pass_seconds(61)
    tea = {"store": "s1", "sku": "tea", "qty": 1}
    first, second, third = await drone.run_many([Call("receive", tea), Call("take_off", AREA), Call("receive", tea)])
    assert isinstance(second, Stale)
    assert [getattr(one, "result", None) for one in (first, third)] == [1, 2]


async def test_a_key_that_was_answered_is_answered_again_however_old_the_data_is(
    drone: EdgeAgent, clock: HandClock
) -> None:
    first = await drone.run("take_off", **AREA, command_id="k1")
    clock.pass_seconds(61)
    assert (await drone.run("take_off", **AREA, command_id="k1")).dots == first.dots


async def test_a_command_that_runs_again_is_not_refused(drone: EdgeAgent, clock: HandClock) -> None:
    """It was acknowledged. What comes of it now is for the rules of the app and of the cloud to say."""
    clock.pass_seconds(3_600)
    with pytest.raises(Stale):
        drone._executor.run("take_off", AREA, "k1")
    assert drone._executor.run("take_off", AREA, "k1", again=Earlier("mark", "")).entry.result == 1


async def test_a_read_says_whether_it_is_stale(drone: EdgeAgent, clock: HandClock) -> None:
    await drone.run("take_off", **AREA)
    assert (await drone.read(Airspace, "s1", "a4")).stale is False
    clock.pass_seconds(601)
    assert (await drone.read(Airspace, "s1", "a4")).stale is True
    await drone.run("receive", store="s1", sku="tea", qty=2)
    assert (await drone.read(Stock, "s1", "tea")).stale is False, "it has no limit"


async def test_over_http_it_is_a_conflict_with_the_age(drone: EdgeAgent, clock: HandClock) -> None:
    clock.pass_seconds(61)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build(drone)), base_url="http://edge") as http:
        answer = await http.post("/v1/commands/take_off", json=AREA)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (409, "stale") and body["age_seconds"] >= 61 and body["remedy"]


@pytest.mark.parametrize(
    ("stale", "age", "told"),
    [
        (True, 3660.0, "Stock/s1/tea, stale: in step 1.0 h ago, or longer"),
        (True, None, "Stock/s1/tea, stale: never in step"),
        (False, 3660.0, ""),
    ],
)
def test_the_command_line_says_it(stale: bool, age: float | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"value": {"on_hand": 3, "description": "of the upper shelf, beside the coffee"}, "stale": stale}
    monkeypatch.setattr(edge_questions, "call", lambda *_, **__: {**found, "age_seconds": age})
    shown = CliRunner().invoke(edge_questions.app, ["get", "Stock", "s1", "tea"]).output
    assert "on_hand" in shown and (told in shown if told else "stale" not in shown)
