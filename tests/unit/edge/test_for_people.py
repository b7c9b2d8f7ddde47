"""What waits for a person at a device: rejected commands until somebody has looked at them, and what of both lists the fleet is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from driftlog.cli.edge import app as cli
from driftlog_edge import EdgeAgent
from driftlog_edge.asking.for_people import MOST_BYTES, MOST_TOLD, ForPeople, for_people
from driftlog_edge.asking.rejections import Rejections
from driftlog_edge.errors import NotFound
from driftlog_edge.http_api.access import Access
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_schemas import bounds
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.conftest import served
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_again import S1, merge_all, refuse, to_review
from tests.unit.edge.test_pruning import prune
from tests.unit.edge.waiting import until

pytestmark = pytest.mark.usefixtures("quick_ticks")


def told(replica: Replica) -> list[tuple[str, str, str]]:
    return [(one.kind, one.command_id, one.code) for one in for_people(replica.journal).told]


def rejected(replica: Replica, cloud: Cloud, *command_ids: str) -> None:
    for command_id in command_ids:
        replica.do("receive", command_id, store="s1", sku="tea", qty=1)
        refuse(replica, cloud, command_id)


def test_what_is_merged_is_told_to_nobody(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "fine", store="s1", sku="tea", qty=1)
    merge_all(replica, cloud)
    assert for_people(replica.journal) == ForPeople(0, 0, ())


def test_a_rejected_command_is_told_until_somebody_has_looked_at_it(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives()
    rejected(replica, cloud, "first", "second")
    replica = lives()  # a restart loses none
    assert told(replica) == [("rejected", "second", "recount"), ("rejected", "first", "recount")], "the newest first"
    one = for_people(replica.journal).told[0]
    assert (one.name, one.collection, one.scope, one.document, one.documents) == ("receive", "Stock", "s1", "tea", 1)
    assert one.at_ms == replica.entry("second").at_ms

    rejections = Rejections(replica.journal)
    seen = rejections.seen("second")
    assert seen.entry.status is Status.REJECTED, "its answer stays"
    replica.journal.stage(seen.writes or {}, sync=True)
    assert told(replica) == [("rejected", "first", "recount")]
    for unknown in ("second", "nobody"):
        with pytest.raises(NotFound, match="not among the rejected ones"):
            rejections.seen(unknown)


def test_what_runs_again_is_told_when_it_is_refused_for_good(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "wrong", store="s1", sku="tea", qty=100)
    for sealed in replica.ship():
        cloud.rejects["wrong"] = "recount"
        cloud.merge(sealed)
    replica.do("sell", "too-much", store="s1", sku="tea", qty=50)
    pulled = replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert told(replica) == [("rejected", "wrong", "recount")]
    replica.run_again(pulled)
    assert told(replica) == [("rejected", "too-much", "out_of_stock"), ("rejected", "wrong", "recount")]


def test_the_review_list_comes_first_and_what_a_person_dropped_nowhere(replica: Replica, cloud: Cloud) -> None:
    rejected(replica, cloud, "refused")
    for command_id in ("one", "two"):
        replica.do("receive", command_id, store="s1", sku="tea", qty=1)
        to_review(replica, command_id)
    found = for_people(replica.journal)
    assert (found.review, found.rejected) == (2, 1)
    assert [one.command_id for one in found.told] == ["one", "two", "refused"], (
        "the oldest first, for it is applied first"
    )
    assert found.told[0].reason == "it is gone"
    replica.journal.stage(replica.again.drop("one").writes or {}, sync=True)
    replica.journal.stage(replica.again.apply("two").writes or {}, sync=True)
    assert told(replica) == [("rejected", "refused", "recount")]


def test_a_rejected_command_goes_off_the_list_with_the_log(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.pruning.KEEP_LAST", 1)
    rejected(replica, cloud, "old")
    merge_all(replica, cloud)
    replica.clock.pass_seconds(8 * 86_400)
    replica.do("receive", "new", store="s1", sku="tea", qty=1)
    prune(replica)
    assert for_people(replica.journal) == ForPeople(0, 0, ())
    assert list(replica.journal.scan(Family.META, keys.REJECTED)) == [], "it leaves nothing behind"


def test_what_is_told_is_bounded_and_what_is_counted_is_not_cut(replica: Replica, cloud: Cloud, ids: FixedIds) -> None:
    for number in range(MOST_TOLD + 3):
        replica.do("receive", f"r{number:02}", store="s1", sku="tea", qty=1)
        to_review(replica, f"r{number:02}")
    rejected(replica, cloud, *(f"x{number:02}" for number in range(MOST_TOLD + 2)))
    found = for_people(replica.journal)
    assert (found.review, found.rejected) == (MOST_TOLD + 3, MOST_TOLD + 2)
    assert [one.command_id for one in found.told] == [
        *(f"r{number:02}" for number in range(MOST_TOLD)),
        *(f"x{number:02}" for number in reversed(range(2, MOST_TOLD + 2))),
    ]


def test_long_names_and_large_commands_make_no_large_heartbeat(
    replica: Replica, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "é" * (bounds.MAX_ID // 2)
    for number in range(MOST_TOLD):
        command_id = f"{number}" * bounds.MAX_COMMAND_ID
        replica.do("receive", command_id, store="s1", sku=long, qty=1)
        to_review(replica, command_id)
    few = for_people(replica.journal).told
    assert 1 < len(few) < MOST_TOLD
    beat = Heartbeat("store-1", "store-1.a", 1, "ONLINE", 0, 0, 0, 0, {}, waiting=few)
    codecs = RecordCodecs(ids)
    assert codecs.decode_heartbeat(codecs.encode_heartbeat(beat)) == beat, "a reader takes what is told"
    assert len(codecs.encode_heartbeat(beat)) < MOST_BYTES + 1024
    monkeypatch.setattr("driftlog_edge.asking.for_people.COMMANDS_BYTES", 1)
    assert for_people(replica.journal) == ForPeople(MOST_TOLD, 0, ())


async def test_the_fleet_is_told_soon_after_a_command_was_rejected_and_after_it_was_seen(
    agent: EdgeAgent, cloud: Cloud, route: CloudRoute, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.link.heartbeats.FIRST_SECONDS", 3_600.0)
    monkeypatch.setattr("driftlog_edge.link.heartbeats.LONGEST_SECONDS", 3_600.0)
    monkeypatch.setattr("driftlog_edge.link.heartbeats.APART_SECONDS", 0.0)

    def last() -> Heartbeat | None:
        words = [RecordCodecs(ids).decode_heartbeat(value) for topic, _, value in list(route.told) if "heart" in topic]
        return words[-1] if words else None

    await until(lambda: last() is not None)
    cloud.rejects["c1"] = "recount"
    await agent.run_with("receive", {"store": "s1", "sku": "tea", "qty": 1}, command_id="c1", wait="merged")
    await until(lambda: (word := last()) is not None and [one.command_id for one in word.waiting] == ["c1"])
    await agent.rejected_seen("c1")
    await until(lambda: (word := last()) is not None and (word.rejected, word.waiting) == (0, ()))


def test_a_person_looks_at_them_over_http_and_on_the_command_line(
    tmp_path: Path, identity: Identity, ids: FixedIds, cloud: Cloud
) -> None:
    identity.save(tmp_path / "identity.json")
    replica = Replica(tmp_path / "data", identity, ids)
    rejected(replica, cloud, "one", "two", "three/3")
    replica.close()
    with served(tmp_path, Access()) as url, httpx.Client(base_url=url, trust_env=False) as http:

        def command_line(*words: str) -> Result:
            return CliRunner().invoke(cli, ["rejected", words[0], "--url", url, *words[1:]])

        listed = http.get("/v1/rejected").json()["commands"]
        assert [found["command_id"] for found in listed] == ["three/3", "two", "one"]
        assert [listed[0][name] for name in ("name", "scope", "status", "code")] == [
            *("receive", "s1", "rejected", "recount")
        ]
        paged = http.get("/v1/rejected?limit=2").json()
        assert [found["command_id"] for found in paged["commands"]] == ["three/3", "two"]
        rest = http.get("/v1/rejected", params={"after": paged["next"]}).json()
        assert ([found["command_id"] for found in rest["commands"]], rest["next"]) == (["one"], None)
        assert json.loads(command_line("list", "--json").stdout) == listed
        assert command_line("list").stdout.count("(recount)") == 3

        assert http.post("/v1/rejected/one", json={"seen": False}).status_code == 422
        assert http.post("/v1/rejected/one", json={"seen": True}).json()["code"] == "recount"
        assert json.loads(command_line("seen", "three/3", "--json").stdout)["status"] == "rejected"
        assert [found["command_id"] for found in http.get("/v1/rejected").json()["commands"]] == ["two"]
        again = http.post("/v1/rejected/one", json={"seen": True})
        assert (again.status_code, again.json()["code"]) == (404, "not_found")
        assert command_line("seen", "one").exit_code == 1
