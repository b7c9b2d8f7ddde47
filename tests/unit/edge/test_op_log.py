"""The log of a device, page by page from the end, and what of it waits."""

from __future__ import annotations

import httpx
import pytest

from driftlog_edge import EdgeAgent
from driftlog_edge.asking import op_log
from driftlog_edge.asking.op_log import OpLog
from driftlog_edge.asking.waiting import Waiting
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_schemas.contract import InvalidInput
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica


@pytest.fixture
def log(replica: Replica) -> OpLog:
    return OpLog(replica.store, replica.views.backlog, Waiting(replica.outbox, replica.journal, replica.clock))


def names(lines: list[object]) -> list[str]:
    return [line.command.id for line in lines]  # type: ignore[attr-defined]


async def test_it_is_read_from_the_end_in_pages(replica: Replica, log: OpLog) -> None:
    assert (await log.last(10)).lines == []
    for number in range(7):
        replica.do("receive", f"c{number}", store="s1", sku="tea", qty=1)
        replica.do("look", store="s1", sku="tea")

    last = (await log.last(3)).lines
    assert names(last) == ["c4", "c5", "c6"]
    assert names((await log.last(3, before=last[0].lsn)).lines) == ["c1", "c2", "c3"]
    assert names((await log.last(3, before=2)).lines) == ["c0"]
    assert (await log.last(3, before=1)).lines == []


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
    assert names((await log.pending(10)).lines) == waiting
    assert names((await log.pending(2)).lines) == waiting[:2]
    assert names((await log.pending(10, after=(await log.pending(1)).lines[0].lsn)).lines) == waiting[1:]


async def test_a_page_ends_earlier_where_commands_are_large_and_says_where_it_goes_on(
    replica: Replica, log: OpLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(130):
        replica.do("label", f"c{number}", store="s1", prefix=f"{number % 3}-", sizes=[10])
    for lsn in (1, 70, *range(72, 130)):  # pruned
        replica.store.write({(Family.OPLOG, keys.lsn_key(lsn)): None}, sync=False)
    wanted = [lsn for lsn in range(1, 131) if lsn not in (1, 70, *range(72, 130))]

    async def walked(limit: int, *, pending: bool) -> tuple[list[int], int]:
        seen: list[int] = []
        following: int | None = 0
        count = 0
        while following is not None:
            page = await (log.pending(limit, following) if pending else log.last(limit, following))
            assert page.lines and len(page.lines) <= limit
            found = [line.lsn for line in page.lines]
            seen = seen + found if pending else found + seen
            following, count = page.next, count + 1
        return seen, count

    for pending in (False, True):
        assert await walked(1000, pending=pending) == (wanted, 1)
        assert await walked(len(wanted), pending=pending) == (wanted, 1)
        assert await walked(7, pending=pending) == (wanted, -(-len(wanted) // 7))
        with monkeypatch.context() as small:
            small.setattr(op_log, "COMMANDS_BYTES", 1)
            assert await walked(1000, pending=pending) == (wanted, len(wanted)), "what is large is a page by itself"


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
