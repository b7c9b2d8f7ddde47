"""Whoever asks what became of a command is told what it waits for, whatever that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from driftlog.cli import edge_lists
from driftlog_edge import EdgeAgent
from driftlog_edge.asking.waiting import NOTHING, Waiting, WaitsFor
from driftlog_edge.http_api import build
from driftlog_edge.store.lives import FORKED
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.waiting import until

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")


@pytest.fixture
def till(tmp_path: Path, identity: Identity, ids: FixedIds) -> Iterator[Replica]:
    replica = Replica(tmp_path / "till", identity, ids)
    yield replica
    replica.close()


def waits(replica: Replica, command_id: str, *, online: bool = True) -> WaitsFor:
    told = Waiting(replica.outbox, replica.journal, replica.clock, lambda: online, replica.shipper.carries)
    entry = replica.entry(command_id)
    return told.of(entry.lsn, entry.status, TEA)


def ship(replica: Replica, cloud: Cloud) -> None:
    for sealed in replica.ship():
        cloud.merge(sealed)
        replica.shipper.delivered(sealed, 0.0)


def receive(replica: Replica, *command_ids: str) -> None:
    for command_id in command_ids:
        replica.do("receive", command_id, store="s1", sku="tea", qty=5)


def test_the_network_while_there_is_none_sealed_or_not(till: Replica) -> None:
    receive(till, "c1")
    assert waits(till, "c1") == NOTHING
    assert waits(till, "c1", online=False).what == "network"
    (sealed,) = till.ship()
    assert waits(till, "c1", online=False).what == "network", "it may not have arrived"
    till.shipper.delivered(sealed, 0.0)
    assert waits(till, "c1", online=False) == NOTHING, "it was sent, and waits for its answer"


def test_the_cloud_which_has_put_it_off_and_what_stands_behind_it(till: Replica, cloud: Cloud) -> None:
    cloud.rejects["c1"] = "undeclared"
    receive(till, "c1")
    ship(till, cloud)
    receive(till, "c2")
    till.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert [waits(till, name, online=False).what for name in ("c1", "c2")] == ["cloud", "cloud"]


def test_an_earlier_change_while_it_is_parked(till: Replica, cloud: Cloud) -> None:
    cloud.parks.add("c1")
    receive(till, "c1")
    ship(till, cloud)
    till.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert waits(till, "c1").what == "change"


def test_room_to_run_again(till: Replica, cloud: Cloud) -> None:
    cloud.rejects["c1"] = "builds_on_refused"
    receive(till, "c1")
    ship(till, cloud)
    pulled = till.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert waits(till, "c1").what == "outbox"
    till.run_again(pulled)
    assert waits(till, "c1") == NOTHING


def test_a_new_life(till: Replica) -> None:
    receive(till, "c1")
    chain = till.lives.chain("retail", S1)
    till.journal.stage(till.lives.written("retail", S1, replace(chain, fork=FORKED)), sync=True)
    assert waits(till, "c1", online=False).what == "life"


async def test_it_is_told_over_http_in_the_status_and_in_the_log_until_it_is_decided(
    agent: EdgeAgent, route: CloudRoute
) -> None:
    await agent.offline()
    await agent.run("receive", command_id="c1", store="s1", sku="tea", qty=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as http:

        async def told() -> list[str | None]:
            status = (await http.get("/v1/commands/c1")).json()
            (line,) = (await http.get("/v1/log")).json()["commands"]
            return [status["waiting_for"], line["waiting_for"]]

        assert await told() == ["network", "network"]
        await agent.online()
        await until(lambda: agent.command("c1").status == "merged")
        assert await told() == [None, None]


def test_the_command_line_says_it_in_words() -> None:
    said = edge_lists.waits({"waiting_for": "network", "waiting_until": None})
    assert said == ", waits for a way to the cloud"
    assert edge_lists.waits({"waiting_for": None, "waiting_until": None}) == ""
