"""What the cloud has put off is told with its reason, over restarts too, and a person can give it up: nothing behind it waits for ever."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from driftlog.cli.edge import app as cli
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import DiskFull, NotFound
from driftlog_edge.http_api.access import Access
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.conftest import served
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS, app
from tests.unit.edge.waiting import rests, until

S1 = partition_of("s1", PARTITIONS)
TEA = {"store": "s1", "sku": "tea"}


def dots_of(cloud: Cloud) -> Counter[tuple[object, ...]]:
    """Which commands speak of a dot, over all batches that came."""
    said = {
        (document, op.replica, op.seq, command.id)
        for batch in cloud.batches
        for command in batch.commands
        for document, op in command.ops
    }
    return Counter(dot[:3] for dot in said)


def held(agent: EdgeAgent) -> int:
    return agent._sync._shipper.holding


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put off is not tried again while a test looks: what is just asked again cannot be given up."""
    monkeypatch.setattr("driftlog_edge.outgoing.held.PAUSE_SECONDS", 3600.0)


@pytest.mark.usefixtures("patient")
async def test_what_stands_behind_a_command_that_is_given_up_goes_on(
    http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud
) -> None:
    cloud.rejects["gone"] = "undeclared"
    await agent.run("receive", command_id="gone", **TEA, qty=1)
    await until(lambda: rests(agent))
    await agent.run("receive", command_id="behind", **TEA, qty=10)
    await agent.run("sell", command_id="too", **TEA, qty=3)
    await agent.run("receive", command_id="elsewhere", wait="merged", store="s1", sku="milk", qty=5)
    found = (await http.get("/v1/deferred")).json()
    assert [(one["command_id"], one["code"]) for one in found["commands"]] == [
        ("gone", "undeclared"),
        ("behind", None),
        ("too", None),
    ]
    page = (await http.get("/v1/deferred?limit=1")).json()
    assert (page["commands"], page["next"]) == (found["commands"][:1], found["commands"][0]["number"])
    rest = (await http.get("/v1/deferred", params={"after": page["next"]})).json()
    assert rest == {"commands": found["commands"][1:], "next": None}

    answer = (await http.post("/v1/deferred/gone", json={"reason": "the field is no more"})).json()

    assert (answer["status"], answer["code"]) == ("rejected", "dropped")
    assert answer["reason"] == "a person dropped it: the field is no more"
    for command_id, result in (("behind", 10), ("too", 7)):
        await until(lambda command_id=command_id: agent.command(command_id).status == "merged")  # type: ignore[misc]
        assert agent.command(command_id).result == result, "as if the dropped one had never been"
    assert (await agent.read("Stock", "s1", "tea", consistency="strong")).value["on_hand"] == 7
    assert max(dots_of(cloud).values()) == 1, "no dot is used twice"
    await until(lambda: agent.status()["problem"] == "" and agent.status()["pending"] == 0)
    assert agent.status()["lives"][-1]["why"] == "given_up"
    assert (await http.get("/v1/deferred")).json() == {"commands": [], "next": None}
    line = next(line for line in (await http.get("/v1/log")).json()["commands"] if line["command_id"] == "gone")
    assert (line["status"], line["code"], line["reason"]) == ("rejected", "dropped", answer["reason"])
    again = await http.post("/v1/deferred/gone", json={"reason": "once more"})
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def test_it_needs_a_reason_and_a_command_that_is_put_off(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    await agent.run("receive", command_id="fine", wait="merged", **TEA, qty=1)
    for command_id in ("fine", "nobody"):
        assert (await http.post(f"/v1/deferred/{command_id}", json={"reason": "x"})).status_code == 404
    for body in ({}, {"reason": ""}, {"reason": "x" * 201}, {"reason": "a\0b"}, {"reason": "x", "more": 1}):
        assert (await http.post("/v1/deferred/fine", json=body)).status_code == 422


def put_off(replica: Replica, cloud: Cloud, command_id: str = "gone") -> None:
    cloud.rejects[command_id] = "undeclared"
    replica.do("receive", command_id, **TEA, qty=1)
    for sealed in replica.ship():
        cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)


def test_a_crash_leaves_it_dropped_whole_or_not_at_all(
    lives: object, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from driftlog_edge.asking.deferred import Deferred

    replica: Replica = lives()  # type: ignore[operator]
    put_off(replica, cloud)
    replica.do("receive", "behind", **TEA, qty=10)

    def dropping() -> Deferred:
        return Deferred(replica.again, replica.outbox, replica.journal)

    before = replica.everything()
    replica.store.full = True
    replica.journal.stage(dropping().drop("gone", "why").writes or {}, sync=True)
    with pytest.raises(DiskFull):
        replica.commit()
    assert replica.everything() == before
    assert (replica.entry("gone").status, replica.on_hand("tea")) == (Status.PENDING, 11)
    assert len(replica.views.backlog) == 2
    replica.store.full = False

    replica.journal.stage(dropping().drop("gone", "why").writes or {}, sync=True)
    replica.commit()
    replica = lives()  # type: ignore[operator]
    assert replica.entry("gone").code == "dropped"
    assert len(replica.outbox.queue.held) == 0
    assert [value for _, value in replica.journal.scan(Family.META, keys.AGAIN)] == [b"behind"]
    assert replica.renewal.due == [("retail", S1)]
    with pytest.raises(NotFound):
        dropping().drop("gone", "why")


async def test_after_a_restart_the_problem_says_why_before_the_cloud_does(
    config: EdgeConfig, route: CloudRoute, cloud: Cloud, ids: FixedIds
) -> None:
    cloud.rejects["gone"] = "undeclared"
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", command_id="gone", **TEA, qty=1)
        await until(lambda: "undeclared" in agent.status()["problem"])
    route.merging = False
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert "undeclared" in agent.status()["problem"]
        await until(lambda: agent.status()["connection"] == "ONLINE" and held(agent) == 0)
        assert "asked again" in agent.status()["problem"] and "undeclared" in agent.status()["problem"]
        cloud.rejects.clear()
        route.work_off()
        await until(lambda: agent.status()["problem"] == "" and agent.status()["pending"] == 0)


@pytest.mark.usefixtures("patient")
async def test_what_a_full_disk_makes_impossible_is_described_and_nothing_else(
    http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.rejects["gone"] = "undeclared"
    await agent.run("receive", command_id="gone", **TEA, qty=1)
    await until(lambda: rests(agent))

    def write(self: RocksStore, writes: Writes, *, sync: bool) -> None:
        raise DiskFull("no space left", "free some")

    monkeypatch.setattr(RocksStore, "write", write)
    paths = (await http.get("/openapi.json")).json()["paths"]
    asked = {  # what is deferred first: a write that fails behind it has it tried again, and then it cannot be given up
        ("post", "/v1/deferred/{command_id}"): ("/v1/deferred/gone", {"reason": "x"}),
        ("post", "/v1/commands/receive"): ("/v1/commands/receive", {**TEA, "qty": 1}),
        ("post", "/v1/documents/{collection}/{scope}/{id}"): ("/v1/documents/Stock/s1/tea", [{"op": "delete"}]),
        ("post", "/v1/offline"): ("/v1/offline", {"offline": True}),
        ("put", "/v1/scopes"): ("/v1/scopes", {"scopes": ["s1", "s2", "s3"]}),
        ("get", "/v1/log"): ("/v1/log", None),
        ("get", "/v1/status"): ("/v1/status", None),
    }
    for (method, path), (url, body) in asked.items():
        answer = await http.request(method, url, json=body)
        described = "507" in paths[path][method]["responses"]
        assert (answer.status_code == 507) is described, (method, path, answer.text)
    assert agent.command("gone").status == "pending", "a drop that the disk refused never was"


def test_on_the_command_line(tmp_path: Path, identity: object, ids: FixedIds, cloud: Cloud) -> None:
    identity.save(tmp_path / "identity.json")  # type: ignore[attr-defined]
    replica = Replica(tmp_path / "data", identity, ids)  # type: ignore[arg-type]
    put_off(replica, cloud, "gone/1")
    replica.journal.stage(
        {(Family.META, keys.OFFLINE): b""}, sync=True
    )  # it stays off the network, or it would be asked again
    replica.commit()
    replica.close()
    with served(tmp_path, Access()) as url:

        def command_line(*words: str) -> str:
            result = CliRunner().invoke(cli, ["deferred", words[0], "--url", url, *words[1:]])
            return result.stdout if result.exit_code == 0 else result.stderr

        assert [one["command_id"] for one in json.loads(command_line("list", "--json"))] == ["gone/1"]
        assert "undeclared" in command_line("list")
        assert "--reason" in command_line("drop", "gone/1")
        assert "not_found" in command_line("drop", "nobody", "--reason", "x")
        assert "dropped it: no use" in command_line("drop", "gone/1", "--reason", "no use")
        assert json.loads(command_line("list", "--json")) == []
