"""The log of a device, page by page from the end, and what of it waits."""

from __future__ import annotations

import httpx
import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.store.op_log import OpLog
from driftlog_schemas.contract import InvalidInput
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica


@pytest.fixture
def log(replica: Replica) -> OpLog:
    return OpLog(replica.store, replica.views.backlog)


def names(lines: list[object]) -> list[str]:
    return [line.command.id for line in lines]  # type: ignore[attr-defined]


async def test_it_is_read_from_the_end_in_pages(replica: Replica, log: OpLog) -> None:
    assert await log.last(10) == []
    for number in range(7):
        replica.do("receive", f"c{number}", store="s1", sku="tea", qty=1)
        replica.do("look", store="s1", sku="tea")

    last = await log.last(3)
    assert names(last) == ["c4", "c5", "c6"]
    assert names(await log.last(3, before=last[0].lsn)) == ["c1", "c2", "c3"]
    assert names(await log.last(3, before=2)) == ["c0"]
    assert await log.last(3, before=1) == []


async def test_what_waits_is_listed_oldest_first_whatever_was_merged_between(
    replica: Replica, log: OpLog, cloud: Cloud
) -> None:
    for number in range(6):
        replica.do("receive", f"c{number}", store="s1" if number % 2 else "s2", sku="tea", qty=1)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", sealed.partition), sealed.partition)
    states = cloud.of("retail.state", sealed.partition)
    replica.pull_states([state for state in states if state.key == b"Stock/s1/tea"], sealed.partition)

    waiting = ["c0", "c2", "c4"]
    assert names(await log.pending(10)) == waiting
    assert names(await log.pending(2)) == waiting[:2]
    assert names(await log.pending(10, after=(await log.pending(1))[0].lsn)) == waiting[1:]


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_is_bounded(log: OpLog, limit: int) -> None:
    for read in (log.last, log.pending):
        with pytest.raises(InvalidInput) as raised:
            await read(limit)
        assert raised.value.field == "limit"


async def test_over_http_it_says_who_did_what_and_what_became_of_it(
    http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud
) -> None:
    cloud.rejects["bad"] = "recount"
    for key in ("good", "bad"):
        await http.post(
            "/v1/commands/receive?wait=merged&timeout=10s",
            json={"store": "s1", "sku": "tea", "qty": 2},
            headers={"Idempotency-Key": key, "Driftlog-Actor": "ann"},
        )
    await agent.offline()
    await http.post("/v1/documents/Stock/s1/tea", json=[{"op": "delete"}], headers={"Idempotency-Key": "last"})

    lines = (await http.get("/v1/log")).json()["commands"]

    assert [(x["number"], x["command_id"], x["name"], x["status"], x["code"], x["actor"]) for x in lines] == [
        (1, "good", "receive", "merged", None, "ann"),
        (2, "bad", "receive", "rejected", "recount", "ann"),
        (3, "last", "", "pending", None, ""),
    ]
    change = lines[0]["changes"][0]
    assert {k: change[k] for k in ("document", "field", "op", "value", "seq")} == {
        "document": "Stock/s1/tea",
        "field": "on_hand",
        "op": "increment",
        "value": 2,
        "seq": 1,
    }
    waiting = (await http.get("/v1/log?pending=true")).json()["commands"]
    assert [x["command_id"] for x in waiting] == ["last"]
