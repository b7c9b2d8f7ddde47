"""The API as its table promises it, seen from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog_crdt import Decision
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull
from driftlog_edge.http_api import build
from driftlog_edge.ports import Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId, is_replica_of
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import Stock, app
from tests.unit.edge.waiting import pages, until

RECEIVE = {"store": "s1", "sku": "tea", "qty": 5}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, its shape checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:driftlog:{code}")
    assert body["title"] and body["detail"]
    return body


async def receive(http: httpx.AsyncClient, key: str = "", **changes: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await http.post("/v1/commands/receive", json={**RECEIVE, **changes}, headers=headers)


# -- commands


async def test_a_command_is_answered_with_all_that_was_promised(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    answer = await receive(http, "c1")
    assert answer.status_code == 200
    body = answer.json()
    assert body["command_id"] == "c1"
    assert body["status"] in ("pending", "shipped", "merged")
    assert body["result"] == 5
    assert body["dots"] == [{"document": "Stock/s1/tea", "replica": agent.status()["replica"], "seq": 1}]
    assert body["session"]


async def test_without_a_key_one_is_made(http: httpx.AsyncClient) -> None:
    first, second = await receive(http), await receive(http)
    assert first.json()["command_id"] != second.json()["command_id"]
    assert second.json()["result"] == 10


async def test_the_same_key_gives_the_same_answer_and_no_second_effect(http: httpx.AsyncClient) -> None:
    first = await receive(http, "c1")
    again = await receive(http, "c1")
    for name in ("command_id", "result", "dots"):
        assert again.json()[name] == first.json()[name]
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5


async def test_the_same_key_at_once_has_one_effect(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(receive(http, "c1") for _ in range(20)))
    assert {a.json()["result"] for a in answers} == {5}
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5


async def test_the_same_key_for_something_else_is_invalid(http: httpx.AsyncClient) -> None:
    await receive(http, "c1")
    assert problem(await receive(http, "c1", qty=6), 422, "invalid")["field"] == "Idempotency-Key"


async def test_a_key_is_the_agents_own_and_the_description_says_so(
    http: httpx.AsyncClient, route: CloudRoute, ids: FixedIds, tmp_path: Path
) -> None:
    """Two agents may be apart for weeks: neither can know what the other was asked, so a key that both are given is two intents."""
    Identity.create("store-2").save(tmp_path / "other.json")
    config = EdgeConfig(data_dir=tmp_path / "other", identity=tmp_path / "other.json", scopes=["s1"])
    async with EdgeAgent(app, config, route=route, ids=ids) as another:
        transport = httpx.ASGITransport(build(another))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as elsewhere:
            for agent in (http, elsewhere, http, elsewhere):
                merged = await agent.post(
                    "/v1/commands/receive?wait=merged&timeout=10s", json=RECEIVE, headers={"Idempotency-Key": "c1"}
                )
                assert merged.json()["status"] == "merged"
            reading = (await elsewhere.get("/v1/documents/Stock/s1/tea?consistency=strong&timeout=10s")).json()
    assert reading["value"]["on_hand"] == 10
    parameters = (await http.get("/openapi.json")).json()["paths"]["/v1/commands/receive"]["post"]["parameters"]
    (key,) = [p for p in parameters if p["name"] == "idempotency-key"]
    assert "given to the same agent" in key["description"] and "Two agents do not know" in key["description"]


async def test_waiting_for_the_merge(http: httpx.AsyncClient, cloud: Cloud) -> None:
    cloud.rejects["no"] = "recount"
    merged = await http.post("/v1/commands/receive?wait=merged&timeout=10s", json=RECEIVE)
    assert merged.json()["status"] == "merged"
    rejected = await http.post(
        "/v1/commands/receive?wait=merged&timeout=10s", json=RECEIVE, headers={"Idempotency-Key": "no"}
    )
    assert rejected.status_code == 200
    assert {k: rejected.json()[k] for k in ("status", "code", "reason")} == {
        "status": "rejected",
        "code": "recount",
        "reason": "recount says the guard",
    }
    assert (await http.get("/v1/commands/no")).json()["status"] == "rejected"


async def test_waiting_in_vain_is_a_timeout_and_the_write_stands(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await agent.offline()
    answer = await http.post("/v1/commands/receive?wait=merged&timeout=50ms", json=RECEIVE)
    body = problem(answer, 504, "timeout")

    async with asyncio.timeout(60):  # on a slow disk it is just being written
        while (status := await http.get(f"/v1/commands/{body['command_id']}")).status_code == 404:  # noqa: ASYNC110  # HTTP has no event for it
            await asyncio.sleep(0.01)

    assert status.json()["status"] == "pending"
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5


async def test_a_refusal_carries_the_apps_own_code(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/commands/sell", json={**RECEIVE, "qty": 1})
    body = problem(answer, 409, "refused")
    assert (body["app_code"], body["detail"]) == ("out_of_stock", "0 left")
    problem(await http.get("/v1/documents/Stock/s1/tea"), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/commands/receive", {"store": "s1", "sku": "tea", "qty": -1}, "qty"),
        ("/v1/commands/receive", {"store": "s1", "sku": "tea"}, "qty"),
        ("/v1/commands/receive", {**RECEIVE, "colour": 1}, "colour"),
        ("/v1/commands/receive", {**RECEIVE, "store": "elsewhere"}, "store"),
        ("/v1/commands/receive", ["no", "object"], "body"),
        ("/v1/commands/receive?wait=never", RECEIVE, "wait"),
        ("/v1/commands/receive?wait=merged&timeout=soon", RECEIVE, "timeout"),
        ("/v1/commands/receive?session=nonsense", RECEIVE, "session"),
        ("/v1/documents/Stock/s1/tea", [], "body"),
        ("/v1/documents/Stock/s1/tea", [{"field": "colour", "op": "set", "args": [1]}], "field"),
        ("/v1/documents/Stock/s1/tea", [{"field": "on_hand", "op": "explode"}], "op"),
        ("/v1/documents/Stock/s1/tea", [{"field": "on_hand", "op": "increment", "args": ["x"]}], "on_hand"),
        ("/v1/documents/Stock/s1/tea", [{"field": "on_hand"}], "0.op"),
        ("/v1/documents/Stock/s1/tea", [{"op": "delete", "colour": 1}], "0.colour"),
        ("/v1/offline", {"offline": "perhaps"}, "offline"),
        ("/v1/offline", {}, "offline"),
    ],
)
async def test_what_is_invalid_is_named(http: httpx.AsyncClient, path: str, body: Any, field: str) -> None:
    answer = await http.post(path, json=body)
    assert problem(answer, 422, "invalid")["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/documents/Stock/s1/tea?consistancy=strong", "consistancy"),
        ("GET", "/v1/documents/Stock/s1?maxage=1s", "maxage"),
        ("GET", "/v1/status?now", "now"),
        ("POST", "/v1/commands/receive?wiat=merged", "wiat"),
        ("POST", "/v1/commands?wiat=merged", "wiat"),
    ],
)
async def test_a_slip_in_a_parameters_name_is_told_and_nothing_is_done(
    http: httpx.AsyncClient, method: str, path: str, name: str
) -> None:
    """What was asked for was left out in silence: a read as the replica had it, where the cloud was to be asked."""
    await receive(http)
    bulk = [{"name": "receive", "arguments": RECEIVE}]
    answer = await http.request(method, path, json=bulk if path.startswith("/v1/commands?") else RECEIVE)
    body = problem(answer, 422, "invalid")
    assert body["field"] == name and "no parameter of this query" in body["detail"]
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5


async def test_a_header_that_comes_twice_is_invalid(http: httpx.AsyncClient) -> None:
    headers = [("Idempotency-Key", "c1"), ("Idempotency-Key", "c2")]
    answer = await http.post("/v1/commands/receive", json=RECEIVE, headers=headers)
    assert problem(answer, 422, "invalid")["field"] == "Idempotency-Key"
    problem(await http.get("/v1/commands/c1"), 404, "not_found")


async def test_an_empty_key_is_invalid_for_each_attempt_would_count(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/commands/receive", json=RECEIVE, headers={"Idempotency-Key": ""})
    assert problem(answer, 422, "invalid")["field"] == "Idempotency-Key"
    bulk = [{"name": "receive", "arguments": RECEIVE, "id": ""}]
    assert "id" in problem(await http.post("/v1/commands", json=bulk), 422, "invalid")["field"]
    problem(await http.get("/v1/documents/Stock/s1/tea"), 404, "not_found")


async def test_a_body_of_another_kind_is_named_as_the_body(http: httpx.AsyncClient) -> None:
    body = problem(await http.post("/v1/commands/receive", json=["no", "object"]), 422, "invalid")
    assert body["detail"].startswith("body: ")


@pytest.mark.parametrize("path", ["/v1/commands/receive", "/v1/commands", "/v1/documents/Stock/s1/tea", "/v1/offline"])
@pytest.mark.parametrize("raw", [b"{", b"nonsense", b'{"qty": 1,}', b"\xff\xfe"])
async def test_a_body_that_is_no_json_is_invalid(http: httpx.AsyncClient, path: str, raw: bytes) -> None:
    """It is the body that is told of: a place in it is a number of characters, and not the name of a field."""
    answer = await http.post(path, content=raw, headers={"content-type": "application/json"})
    body = problem(answer, 422, "invalid")
    assert body["field"] == "body" and "JSON" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/commands/nonsense"),
        ("GET", "/v1/documents/Stock/s1/nothing"),
        ("GET", "/v1/conflicts/nonsense"),
        ("POST", "/v1/conflicts/nonsense/resolve"),
        ("GET", "/v2/anything"),
    ],
)
async def test_what_is_not_there_is_not_found(http: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"accept": True} if method == "POST" else None
    problem(await http.request(method, path, json=body), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("POST", "/v1/commands/nonsense", "command"),
        ("GET", "/v1/documents/Nonsense/s1/tea", "collection"),
        ("GET", "/v1/documents/Nonsense/s1", "collection"),
        ("POST", "/v1/documents/Nonsense/s1/tea", "collection"),
        ("GET", "/v1/watch?collection=Nonsense", "collection"),
    ],
)
async def test_what_this_release_does_not_declare_has_a_code_of_its_own(
    http: httpx.AsyncClient, method: str, path: str, field: str
) -> None:
    """Another release may declare it: that is no word on whether there is such a document."""
    body: Any = [{"op": "delete"}] if "documents" in path else {}
    answer = await http.request(method, path, json=body if method == "POST" else None)
    assert problem(answer, 404, "undeclared")["field"] == field
    described = (await http.get("/openapi.json")).json()["paths"]
    template = {"command": "/v1/commands/{name}", "collection": "/v1/documents/{collection}/{scope}/{id}"}[field]
    assert "`undeclared`" in described[template][method.lower()]["responses"]["404"]["description"]


async def test_too_much_is_too_large_and_changes_nothing(http: httpx.AsyncClient) -> None:
    await receive(http)
    name = [{"field": "name", "op": "set", "args": ["x" * 5000]}]
    body = problem(await http.post("/v1/documents/Stock/s1/tea", json=name), 413, "too_large")
    assert body["field"] == "name"
    huge = json.dumps({**RECEIVE, "sku": "x" * (1 << 20)})
    answer = await http.post("/v1/commands/receive", content=huge, headers={"content-type": "application/json"})
    problem(answer, 413, "too_large")
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"] == {
        "store": "s1",
        "sku": "tea",
        "on_hand": 5,
        "name": "",
        "price": 0,
        "tags": [],
    }


async def test_a_body_without_a_length_is_bounded_too(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * (1 << 16)

    answer = await http.post("/v1/commands/receive", content=endless(), headers={"content-type": "application/json"})
    problem(answer, 413, "too_large")


async def test_a_full_outbox_is_told(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> None:
    small = config.model_copy(update={"outbox_limit": 2})
    async with EdgeAgent(app, small, route=route, ids=ids) as agent:
        await agent.offline()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as http:
            for _ in range(2):
                assert (await receive(http)).status_code == 200
            body = problem(await receive(http), 507, "outbox_full")
            assert body["remedy"]
            assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 10


async def test_a_full_disk_is_told(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await receive(http)

    def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
        raise DiskFull("no space left", "free some")

    with monkeypatch.context() as full:
        full.setattr(RocksStore, "write", write)
        assert problem(await receive(http, "c2"), 507, "disk_full")["remedy"] == "free some"
    problem(await http.get("/v1/commands/c2"), 404, "not_found")
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5
    assert (await receive(http, "c2")).json()["result"] == 10


# -- documents


async def test_a_document_is_read_with_all_that_was_promised(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await http.post("/v1/commands/receive?wait=merged&timeout=10s", json=RECEIVE)
    await agent.offline()
    await receive(http)
    body = (await http.get("/v1/documents/Stock/s1/tea")).json()
    assert body["value"]["on_hand"] == 10
    assert body["version"] == {agent.status()["replica"]: 2}
    assert body["pending"] == 1
    assert isinstance(body["synced_at"], int) and body["age_seconds"] >= 0
    assert body["conflicts"] == []
    assert body["session"]


async def test_ids_with_slashes_and_spaces_are_ids_like_others(http: httpx.AsyncClient) -> None:
    await receive(http, sku="green tea/50 %")
    answer = await http.get("/v1/documents/Stock/s1/green%20tea%2F50%20%25")
    assert answer.status_code == 200, answer.text
    assert answer.json()["value"]["sku"] == "green tea/50 %"


async def test_a_deleted_document_is_gone_and_may_come_back(http: httpx.AsyncClient) -> None:
    await receive(http)
    answer = await http.post("/v1/documents/Stock/s1/tea", json=[{"op": "delete"}])
    assert answer.status_code == 200
    problem(await http.get("/v1/documents/Stock/s1/tea"), 410, "deleted")
    assert (await http.get("/v1/documents/Stock/s1")).json()["documents"] == []
    await receive(http)
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["on_hand"] == 5


async def test_a_write_without_a_command_is_answered_like_one(http: httpx.AsyncClient) -> None:
    changes = [{"field": "on_hand", "op": "increment", "args": [5]}, {"field": "tags", "op": "add", "args": ["new"]}]
    first = await http.post("/v1/documents/Stock/s1/tea", json=changes, headers={"Idempotency-Key": "w1"})
    again = await http.post("/v1/documents/Stock/s1/tea", json=changes, headers={"Idempotency-Key": "w1"})
    assert first.json()["dots"] == again.json()["dots"]
    assert len(first.json()["dots"]) == 2
    value = (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]
    assert (value["on_hand"], value["tags"]) == (5, ["new"])


async def test_pages_come_in_id_order_and_end(
    http: httpx.AsyncClient, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.offline()
    for sku in ("d", "a", "c", "e", "b", "B", "a b"):
        await receive(http, sku=sku)
    await receive(http, sku="a", store="s2")
    seen: list[str] = []
    after = ""
    for _ in range(10):
        page = (await http.get("/v1/documents/Stock/s1", params={"limit": 3, "after": after})).json()
        seen += [d["value"]["sku"] for d in page["documents"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == ["B", "a", "a b", "b", "c", "d", "e"]
    with monkeypatch.context() as small:
        small.setattr("driftlog_edge.asking.pages.PAGE_BYTES", 1)
        page = (await http.get("/v1/documents/Stock/s1", params={"limit": 3, "after": "b"})).json()
        assert ([d["value"]["sku"] for d in page["documents"]], page["next"]) == (["c"], "c"), "a large one is a page"
    assert len(await agent.page(Stock, "s1")) == 7
    for limit in ("0", "1001", "x"):
        answer = await http.get("/v1/documents/Stock/s1", params={"limit": limit})
        assert problem(answer, 422, "invalid")["field"] == "limit"
    twice = await http.get("/v1/documents/Stock/s1", params={"after": ["a", "c"]})
    assert problem(twice, 422, "invalid")["field"] == "after"


async def test_confirmed_and_pending_documents_are_one_list(
    http: httpx.AsyncClient, cloud: Cloud, agent: EdgeAgent
) -> None:
    cloud.write(DocumentId("Stock", "s1", "b"), "on_hand", "increment", 1)
    cloud.write(DocumentId("Stock", "s1", "d"), "on_hand", "increment", 1)
    await until(lambda: pages(agent, Stock, "s1", ["b", "d"]))
    await agent.offline()
    for sku in ("a", "b", "c"):
        await receive(http, sku=sku)
        await receive(http, sku=sku)

    page = (await http.get("/v1/documents/Stock/s1")).json()

    assert [(d["value"]["sku"], d["value"]["on_hand"]) for d in page["documents"]] == [
        ("a", 10),
        ("b", 11),
        ("c", 10),
        ("d", 1),
    ]


async def test_strong_and_fresh_reads_are_refused_offline_not_guessed(
    http: httpx.AsyncClient, agent: EdgeAgent
) -> None:
    await receive(http)
    await agent.offline()
    assert problem(await http.get("/v1/documents/Stock/s1/tea?consistency=strong"), 503, "offline")["remedy"]
    problem(await http.get("/v1/documents/Stock/s1/tea?max_age=0s"), 503, "offline")
    assert (await http.get("/v1/documents/Stock/s1/tea?consistency=eventual")).status_code == 200


async def test_a_causal_read_has_the_sessions_own_write(http: httpx.AsyncClient) -> None:
    session = (await receive(http)).json()["session"]
    answer = await http.get("/v1/documents/Stock/s1/tea", params={"consistency": "causal", "session": session})
    assert answer.json()["value"]["on_hand"] == 5
    bad = await http.get("/v1/documents/Stock/s1/tea", params={"consistency": "causal", "session": "nonsense"})
    assert problem(bad, 422, "invalid")["field"] == "session"
    for name, value in (("consistency", "maybe"), ("max_age", "old"), ("timeout", "-1")):
        answer = await http.get("/v1/documents/Stock/s1/tea", params={name: value})
        assert problem(answer, 422, "invalid")["field"] == name


# -- conflicts


def dispute(status: ConflictStatus = ConflictStatus.OPEN) -> Conflict:
    mine = Version("store-1.1", 1, 5 << 16, 7, 10, "c1", "ann", 4)
    theirs = Version("office.1", 1, 6 << 16, 8, 12, "c2", "bob")
    tea = DocumentId("Stock", "s1", "tea")
    return Conflict("x1", tea, "price", (theirs, mine), "review", "register", 8, 8, 99, status, None, 3)


async def test_a_conflict_is_shown_decided_and_over(http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud) -> None:
    await receive(http)
    cloud.publish_conflict(dispute())
    await until(agent.conflicts)
    (found,) = (await http.get("/v1/conflicts")).json()["conflicts"]
    assert (await http.get("/v1/conflicts/x1")).json() == found
    assert (found["field"], found["fields"], found["status"], found["deadline_ms"]) == ("price", ["price"], "open", 99)
    assert [(v["value"], v["actor"], v["append_ms"], v["seen"]) for v in found["versions"]] == [
        (12, "bob", 8, 0),
        (10, "ann", 7, 4),
    ]
    assert (found["omitted"], found["opened_ms"], found["decided_by"]) == (3, 8, None)
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["conflicts"] == ["x1"]
    for body in ({}, {"accept": False}, {"accept": True, "price": 1}):
        problem(await http.post("/v1/conflicts/x1/resolve", json=body), 422, "invalid")
    other = await http.post("/v1/conflicts/x1/resolve", json={"name": "tea"})
    assert problem(other, 422, "invalid")["field"] == "price"

    answer = await http.post("/v1/conflicts/x1/resolve", json={"price": 11}, headers={"Idempotency-Key": "d1"})
    assert answer.status_code == 200
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["price"] == 11
    cloud.publish_conflict(dispute(ConflictStatus.RESOLVED))
    await until(lambda: not agent.conflicts())
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["conflicts"] == []
    assert (await http.get("/v1/conflicts")).json()["conflicts"] == []
    assert len((await http.get("/v1/conflicts?all=true")).json()["conflicts"]) == 1
    problem(await http.post("/v1/conflicts/x1/resolve", json={"accept": True}), 422, "invalid")


async def test_accepting_writes_what_stands(http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud) -> None:
    cloud.publish_conflict(dispute())
    await until(agent.conflicts)
    assert (await http.post("/v1/conflicts/x1/resolve", json={"accept": True})).status_code == 200
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["price"] == 12


async def test_a_decision_says_who_how_and_why_and_may_overrule_a_deadline(
    http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud
) -> None:
    by = Version("cloud.deadline", 1, 9 << 16, 9, 12, how="deadline")
    cloud.publish_conflict(replace(dispute(ConflictStatus.SETTLED), decided_by=by))
    await until(lambda: agent.conflicts(everything=True))
    assert (await http.get("/v1/conflicts")).json()["conflicts"] == []
    (found,) = (await http.get("/v1/conflicts?all=true")).json()["conflicts"]
    assert (found["status"], found["decided_by"]["how"], found["decided_by"]["value"]) == ("settled", "deadline", 12)
    asked = {"how": "page", "reason": "as on the shelf"}
    for wrong in ({"how": "deadline"}, {"reason": "r" * 201}):
        problem(await http.post("/v1/conflicts/x1/resolve", params=wrong, json={"price": 11}), 422, "invalid")
    answer = await http.post(
        "/v1/conflicts/x1/resolve", params=asked, json={"price": 11}, headers={b"Driftlog-Actor": "Zoë".encode()}
    )
    assert answer.status_code == 200
    await until(lambda: agent.command(answer.json()["command_id"]).status == "merged")
    (command,) = [c for batch in cloud.batches for c in batch.commands]
    assert (command.actor, command.decision) == ("Zoë", Decision("page", "as on the shelf"))


async def test_accepting_what_a_deadline_has_settled_writes_that(
    http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud
) -> None:
    by = Version("cloud.deadline", 1, 9 << 16, 9, 14, how="deadline")
    cloud.publish_conflict(replace(dispute(ConflictStatus.SETTLED), rule="custom", decided_by=by))
    await until(lambda: agent.conflicts(everything=True))
    assert (await http.post("/v1/conflicts/x1/resolve", json={"accept": True})).status_code == 200
    assert (await http.get("/v1/documents/Stock/s1/tea")).json()["value"]["price"] == 14


# -- watch


class Listener:
    """A client of server-sent events on the application itself; the test transport would wait for the stream's end."""

    def __init__(self, agent: EdgeAgent, query: str = "", last_id: str = "") -> None:
        headers = [(b"last-event-id", last_id.encode())] if last_id else []
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/v1/watch",
            "raw_path": b"/v1/watch",
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "server": ("edge", 80),
            "client": ("here", 1),
        }
        self._app = build(agent)
        self._gone = asyncio.Event()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self.started = asyncio.Event()
        self.media_type = ""

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        await asyncio.wait_for(self.started.wait(), 30)
        await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        await asyncio.wait_for(self._task, 30)

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.media_type = dict(message["headers"])[b"content-type"].decode()
            self.started.set()
        for line in message.get("body", b"").decode().splitlines():
            self._lines.put_nowait(line)

    async def event(self) -> dict[str, str]:
        """The next event."""
        found: dict[str, str] = {}
        while True:
            line = await asyncio.wait_for(self._lines.get(), 30)
            if not line and "data" in found:
                return found
            name, colon, value = line.partition(":")
            if colon and name:
                found[name] = value.strip()


async def test_a_watcher_hears_of_each_changed_document_and_resumes(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await agent.offline()
    async with Listener(agent, "collection=Stock&scope=s1") as listener:
        assert listener.media_type.startswith("text/event-stream")
        await receive(http, store="s2")
        await receive(http)
        first = await listener.event()
    assert first["event"] == "change"
    assert json.loads(first["data"]) == {"collection": "Stock", "scope": "s1", "id": "tea"}

    await receive(http, sku="coffee")
    async with Listener(agent, "scope=s1", last_id=first["id"]) as listener:
        missed = await listener.event()
        assert json.loads(missed["data"])["id"] == "coffee"
    async with Listener(agent, last_id="another-life-7") as listener:
        assert (await listener.event())["event"] == "resync"


async def test_a_watch_with_an_end_is_an_answer_like_any_other_and_nothing_is_missed_between_two(
    http: httpx.AsyncClient, agent: EdgeAgent
) -> None:
    await agent.offline()
    nothing_new = await http.get("/v1/watch?scope=s1&timeout=0s")
    name, _, since = nothing_new.text.strip().partition(": ")
    assert (nothing_new.status_code, name) == (200, "id")
    await receive(http)
    heard = await http.get("/v1/watch?scope=s1&timeout=0s", headers={"Last-Event-ID": since})
    assert [line for line in heard.text.splitlines() if line.startswith("data: ")] == [
        'data: {"collection": "Stock", "scope": "s1", "id": "tea"}'
    ]
    assert problem(await http.get("/v1/watch?timeout=soon"), 422, "invalid")["field"] == "timeout"


# -- operations


async def test_status_says_all_that_was_promised(http: httpx.AsyncClient) -> None:
    await http.post("/v1/commands/receive?wait=merged&timeout=10s", json=RECEIVE)
    body = (await http.get("/v1/status")).json()
    assert (body["device_id"], body["pending"]) == ("store-1", 0)
    assert is_replica_of(body["replica"], "store-1")
    assert [life["replica"] for life in body["lives"]] == [body["replica"]]
    assert body["connection"] in ("ONLINE", "DEGRADED", "TRANSITIONING", "OFFLINE")
    assert body["oldest_pending_seconds"] == 0
    assert set(body["scopes"]) == {"s1", "s2"}
    assert set(body["scopes"]["s1"]) >= {"synced_at", "age_seconds", "digest", "not_readable"}
    assert body["scopes"]["s1"]["digest"] != "0" * 16 == body["scopes"]["s2"]["digest"]
    assert body["disk_bytes"] > 0 and body["clock_skew_ms"] == 0
    assert set(body["versions"]) >= {"agent", "app"}


async def test_aeroplane_mode(http: httpx.AsyncClient) -> None:
    body = (await http.post("/v1/offline", json={"offline": True})).json()
    assert (body["connection"], body["offline_by_choice"]) == ("OFFLINE", True)
    assert (await http.post("/v1/offline", json={"offline": True})).status_code == 200
    body = (await http.post("/v1/offline", json={"offline": False})).json()
    assert body["offline_by_choice"] is False


async def test_liveness_and_metrics(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await agent.offline()
    await receive(http)
    assert (await http.get("/healthz")).text == "ok"
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert "driftlog_edge_pending_commands 1.0" in lines
    assert 'driftlog_edge_connection{state="OFFLINE"} 1.0' in lines
    assert any(line.startswith("driftlog_edge_disk_bytes ") for line in lines)


async def test_the_openapi_document_has_the_apps_commands(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    paths = document["paths"]
    assert {"/v1/commands/{command_id}", "/v1/status", "/v1/offline", "/v1/watch", "/v1/conflicts"} <= set(paths)
    sell = paths["/v1/commands/sell"]["post"]
    assert sell["summary"] or sell["description"]
    schema = sell["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["required"]) == {"store", "sku", "qty"}
    assert {"200", "409", "422", "507"} <= set(sell["responses"])


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, deflate", "no such"])
async def test_a_body_that_is_encoded_is_refused_and_changes_nothing(http: httpx.AsyncClient, encoding: str) -> None:
    answer = await http.post("/v1/commands/receive", json=RECEIVE, headers={"Content-Encoding": encoding})
    told = problem(answer, 415, "unsupported_encoding")
    assert told["field"] == "Content-Encoding" and "without Content-Encoding" in told["remedy"]
    assert answer.headers["accept-encoding"] == "identity"
    assert (await http.get("/v1/documents/Stock/s1/tea")).status_code == 404
    plain = await http.post("/v1/commands/receive", json=RECEIVE, headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


async def test_a_wrong_method_is_a_problem_too(http: httpx.AsyncClient) -> None:
    problem(await http.delete("/v1/status"), 405, "method_not_allowed")


async def test_a_defect_of_the_app_is_a_problem_and_changes_nothing(agent: EdgeAgent) -> None:
    transport = httpx.ASGITransport(build(agent), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
        body = {"store": "s1", "sku": "tea", "how": "defect"}
        found = problem(await http.post("/v1/commands/change_then_fail", json=body), 500, "failed")
        assert "ZeroDivisionError" in found["detail"]
        problem(await http.get("/v1/documents/Stock/s1/tea"), 404, "not_found")
        assert (await receive(http)).json()["result"] == 5


async def test_every_reference_in_the_openapi_document_leads_somewhere(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert "pack_Box" in document["components"]["schemas"]
    references: list[str] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            references.extend(v for k, v in node.items() if k == "$ref" and isinstance(v, str))
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            look(value)

    look(document)
    for reference in references:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
