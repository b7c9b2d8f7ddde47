"""A list of commands in one request: each is answered as its own route would answer it, and none is in the way of another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from driftlog_edge import Call, EdgeAgent
from driftlog_edge.asking.answers import MAX_CALLS
from driftlog_edge.asking.executor import Executor
from driftlog_edge.asking.submission import CHANGES_AT_ONCE, TURNS_AT_ONCE
from driftlog_edge.errors import DiskFull
from driftlog_edge.http_api.bodies import MAX_BODY_BYTES
from driftlog_edge.http_api.bulk import PART_BYTES
from driftlog_edge.http_api.shapes import AnswerOut
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import InvalidInput, Refused
from tests.unit.edge.shop import Stock
from tests.unit.edge.test_linear import in_one_turn

TEA = {"store": "s1", "sku": "tea"}
RECEIVE = {"name": "receive", "arguments": {**TEA, "qty": 1}}
OTHERS: dict[str, dict[str, Any]] = {
    "refused": {"name": "sell", "arguments": {**TEA, "qty": 10_000}},
    "undeclared": {"name": "no_such", "arguments": {}},
    "invalid": {"name": "receive", "arguments": {**TEA, "qty": -1}},
    "no argument": {"name": "receive"},
    "a scope that is not held": {"name": "receive", "arguments": {**TEA, "store": "elsewhere", "qty": 1}},
    "too large": {"name": "rename", "arguments": {**TEA, "name": "x" * 5000}},
    "a defect": {"name": "change_then_fail", "arguments": TEA},
    "a key too long": {**RECEIVE, "id": "k" * 200},
    "an actor too long": {**RECEIVE, "actor": "a" * 200},
}


async def given(http: httpx.AsyncClient, commands: Any, **query: str) -> list[dict[str, Any]]:
    answer = await http.post("/v1/commands", json=commands, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def alone(http: httpx.AsyncClient, one: dict[str, Any]) -> httpx.Response:
    """The same through the route of one command."""
    names = {"id": "Idempotency-Key", "actor": "Driftlog-Actor"}
    headers = {names[name]: one[name] for name in names if name in one}
    return await http.post(f"/v1/commands/{one['name']}", json=one.get("arguments", {}), headers=headers)


async def on_hand(agent: EdgeAgent) -> int:
    value = (await agent.read(Stock, "s1", "tea")).value["on_hand"]
    assert isinstance(value, int)
    return value


async def test_each_is_answered_in_order_and_runs_on_what_those_before_it_did(
    http: httpx.AsyncClient, agent: EdgeAgent
) -> None:
    commands = [{**RECEIVE, "id": f"c{n}"} for n in range(2 * TURNS_AT_ONCE + 5)]
    found = await given(http, commands)
    assert [one["status"] for one in found] == [200] * len(commands)
    assert [one["answer"]["command_id"] for one in found] == [f"c{n}" for n in range(len(commands))]
    assert [one["answer"]["result"] for one in found] == list(range(1, len(commands) + 1))
    assert [line.command.id for line in (await agent.log.last(len(commands))).lines] == [
        f"c{n}" for n in range(len(commands))
    ]
    assert all(one.keys() == {"status", "answer"} for one in found)


@pytest.mark.filterwarnings("ignore")
async def test_whatever_is_wrong_with_one_is_told_as_its_own_route_tells_it_and_the_others_stand(
    agent: EdgeAgent,
) -> None:
    from driftlog_edge.http_api import build

    transport = httpx.ASGITransport(build(agent), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
        own = {name: await alone(http, one) for name, one in OTHERS.items()}
        assert (await agent.log.last(10)).lines == []
        found = await given(http, [part for one in OTHERS.values() for part in (one, RECEIVE)])
    for (name, single), one in zip(own.items(), found[::2], strict=True):
        assert single.status_code >= 400
        assert (one["status"], one["problem"]) == (single.status_code, single.json()), name
        assert one.keys() == {"status", "problem"}
    assert [one["answer"]["result"] for one in found[1::2]] == list(range(1, len(OTHERS) + 1))
    assert await on_hand(agent) == len(OTHERS)


async def test_a_key_has_one_effect_within_a_list_and_between_lists(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    keyed = {**RECEIVE, "id": "c1"}
    first = await given(http, [keyed, keyed, {**RECEIVE, "arguments": {**TEA, "qty": 2}, "id": "c1"}])
    again = await given(http, [keyed])
    answers = [one["answer"] for one in (*first[:2], *again)]
    for name in ("command_id", "result", "dots"):
        assert len({json.dumps(answer[name]) for answer in answers}) == 1
    assert first[2]["status"] == 422 and first[2]["problem"]["field"] == "Idempotency-Key"
    assert (await alone(http, keyed)).json()["dots"] == answers[0]["dots"]
    assert await on_hand(agent) == 1


async def test_none_is_answered_before_it_is_durable_and_all_share_few_syncs(
    http: httpx.AsyncClient, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.offline()
    groups: list[bool] = []
    honest = RocksStore.write

    def write(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        if any(family is Family.OPLOG for family, _ in writes):  # what is read of the cloud is written, too
            groups.append(sync)
        honest(store, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", write)
    await given(http, [RECEIVE] * 200)
    assert 1 <= len(groups) < 20 and all(groups)
    groups.clear()
    await given(http, [RECEIVE], durability="os")
    assert groups == [False]


async def test_a_disk_that_refuses_is_told_to_each_of_them(
    http: httpx.AsyncClient, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.offline()

    def full(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        raise DiskFull("no space left", "free some")

    with monkeypatch.context() as disk:
        disk.setattr(RocksStore, "write", full)
        found = await given(http, [RECEIVE] * 3)
    assert [(one["status"], one["problem"]["code"]) for one in found] == [(507, "disk_full")] * 3
    assert (await given(http, [RECEIVE]))[0]["answer"]["result"] == 1


async def test_waiting_in_vain_names_each_command_and_they_stand(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await agent.offline()
    keyed = [{**RECEIVE, "id": f"c{n}"} for n in range(3)]
    found = await given(http, keyed, wait="merged", timeout="50ms")
    assert [(one["status"], one["problem"]["command_id"]) for one in found] == [(504, f"c{n}") for n in range(3)]
    await agent._committer.settled()  # a slow disk may be writing them yet
    assert agent.command("c2").status == "pending"


WRONG: dict[str, tuple[Any, str]] = {
    "no list": ({"name": "receive"}, "body"),
    "no command": ([RECEIVE, {"arguments": {}}], "1.name"),
    "no object": ([RECEIVE, 7], "1"),
    "unknown word": ([RECEIVE, {**RECEIVE, "priority": "high"}], "1.priority"),
    "arguments that are a list": ([{"name": "receive", "arguments": []}], "0.arguments"),
    "a key that is a number": ([{**RECEIVE, "id": 7}], "0.id"),
    "too many": ([RECEIVE] * (MAX_CALLS + 1), "body"),
}


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_with_the_list_is_named_and_none_of_it_has_run(
    http: httpx.AsyncClient, agent: EdgeAgent, body: Any, field: str
) -> None:
    answer = await http.post("/v1/commands", json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid", field)
    if field == "body" and isinstance(body, list):
        assert str(MAX_CALLS) in answer.json()["detail"]
    assert (await agent.log.last(10)).lines == []


async def test_a_list_is_bounded_in_bytes(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    large = {"name": "rename", "arguments": {**TEA, "name": "x" * (MAX_BODY_BYTES // 2)}}
    answer = await http.post("/v1/commands", json=[RECEIVE, large, large])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert str(MAX_BODY_BYTES) in answer.json()["detail"]
    assert (await agent.log.last(10)).lines == []


@pytest.mark.slow
async def test_an_empty_list_has_no_answers_and_as_many_as_may_be_have_theirs(http: httpx.AsyncClient) -> None:
    assert await given(http, []) == []
    assert len(await given(http, [RECEIVE] * MAX_CALLS, durability="os")) == MAX_CALLS


async def test_its_bounds_and_its_shapes_are_in_the_description(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    operation = document["paths"]["/v1/commands"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["maxItems"] == MAX_CALLS
    assert str(MAX_BODY_BYTES) in schema["description"]
    assert "Problem" in json.dumps(document["components"]["schemas"]["OutcomeOut"])


# -- in Python


async def test_an_application_gets_answers_and_errors_side_by_side(agent: EdgeAgent) -> None:
    given, refused, invalid = await agent.run_many(
        [
            Call("receive", {**TEA, "qty": 1}, "c1", "ann"),
            Call("sell", {**TEA, "qty": 10_000}),
            Call("receive", {**TEA, "qty": -1}),
        ]
    )
    assert not isinstance(given, Exception) and given.command_id == "c1"
    assert isinstance(refused, Refused) and isinstance(invalid, InvalidInput)
    assert [line.command.actor for line in (await agent.log.last(5)).lines] == ["ann"]
    with pytest.raises(InvalidInput, match=f"at most {MAX_CALLS}"):
        await agent.run_many([Call("receive", {**TEA, "qty": 1})] * (MAX_CALLS + 1))
    assert await on_hand(agent) == 1


async def test_others_run_in_between(agent: EdgeAgent) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await agent.run_many([Call("receive", {**TEA, "qty": 1})] * (6 * TURNS_AT_ONCE), durability="os")
    running.cancel()
    assert turns >= 6


async def test_who_goes_away_takes_along_what_has_not_run_and_holds_up_nobody(agent: EdgeAgent) -> None:
    calls = [Call("receive", {**TEA, "qty": 1}, f"c{n}") for n in range(6 * TURNS_AT_ONCE)]
    task = asyncio.create_task(agent.run_many(calls))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await agent.run("receive", **TEA, qty=1)
    stands = [line.command.id for line in (await agent.log.last(1000)).lines][:-1]
    assert stands == [f"c{n}" for n in range(len(stands))] and len(stands) < len(calls)
    assert answer.result == len(stands) + 1


async def test_large_commands_let_others_run_and_are_answered_in_parts(
    http: httpx.AsyncClient, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.offline()
    fill = {"name": "fill", "arguments": {"store": "s1", "prefix": "p", "count": 200}}
    ran = in_one_turn(monkeypatch, Executor, "run")
    shaped = in_one_turn(monkeypatch, AnswerOut, "of")
    found = await given(http, [fill] * 40, durability="os", timeout="60s")
    assert [len(one["answer"]["dots"]) for one in found] == [200] * 40
    assert sum(ran) == sum(shaped) == 40
    assert max(ran) <= CHANGES_AT_ONCE // 200 + 1
    assert max(shaped) <= PART_BYTES // 10_000 + 1, "each takes more than that"
