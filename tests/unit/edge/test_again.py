"""What was computed on a refused change runs again on the corrected view; what nobody can decide alone waits for a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from driftlog.cli.edge import app as cli
from driftlog_edge import EdgeAgent
from driftlog_edge.asking.again import NotNow, Round
from driftlog_edge.asking.executor import Executed, Executor
from driftlog_edge.asking.intent import Earlier
from driftlog_edge.errors import EdgeError, Evicted, NotFound, NotReadable
from driftlog_edge.http_api.access import Access
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.conftest import served
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.waiting import until

S1 = partition_of("s1", PARTITIONS)


def judge(replica: Replica, cloud: Cloud, command_id: str, code: str = "recount") -> None:
    """The cloud merges what was sent but for one command; nothing of it is here yet."""
    cloud.rejects[command_id] = code
    for sealed in replica.ship():
        cloud.merge(sealed)


def refuse(replica: Replica, cloud: Cloud, command_id: str, code: str = "recount") -> Pulled:
    """What was sent is merged but for one command; its row is here, its states are not."""
    judge(replica, cloud, command_id, code)
    return replica.pull_receipts(cloud.of("retail.receipts", S1), S1)


def merge_all(replica: Replica, cloud: Cloud) -> None:
    for sealed in replica.ship():
        cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    replica.pull_states(cloud.of("retail.state", S1), S1)


def test_what_was_not_sent_runs_again_on_the_corrected_view(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "there", store="s1", sku="tea", qty=10)
    replica.do("receive", "wrong", store="s1", sku="tea", qty=100)
    judge(replica, cloud, "wrong")
    replica.do("sell", "too-much", store="s1", sku="tea", qty=50)
    replica.do("sell", "enough", store="s1", sku="tea", qty=3)
    replica.do("receive", "elsewhere", store="s1", sku="milk", qty=1)
    pulled = replica.pull_receipts(cloud.of("retail.receipts", S1), S1)

    assert replica.run_again(pulled) == ["too-much", "enough"], "in their order, and nothing else"
    too_much, enough = replica.entry("too-much"), replica.entry("enough")
    assert (too_much.status, too_much.code) == (Status.REJECTED, "out_of_stock")
    assert (enough.status, enough.result) == (Status.PENDING, 7)
    assert replica.on_hand("tea") == 7
    merge_all(replica, cloud)
    assert replica.on_hand("tea") == 7
    assert len(replica.views.backlog) == 0
    assert replica.entry("enough").status is Status.MERGED


def test_what_the_cloud_found_built_on_a_refused_change_runs_again(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    pulled = refuse(replica, cloud, "c1", "builds_on_refused")
    assert replica.entry("c1").status is Status.PENDING

    assert replica.run_again(pulled) == ["c1"]
    entry = replica.entry("c1")
    assert [seq for _, _, seq in entry.dots] == [2], "new dots: the refused ones stay taken"
    merged = dict(cloud.rejects)
    cloud.rejects.clear()
    merge_all(replica, cloud)

    assert merged == {"c1": "builds_on_refused"}
    assert replica.entry("c1").status is Status.MERGED
    assert replica.on_hand("tea") == 5
    assert len(replica.views.backlog) == 0


def fails(monkeypatch: pytest.MonkeyPatch, executor: Executor, error: Exception, *command_ids: str) -> None:
    """What the app's functions of these commands raise when they run again."""
    run = executor.run

    def failing(
        name: str, arguments: Mapping[str, Any], command_id: str = "", actor: str = "", again: Earlier | None = None
    ) -> Executed:
        if again is not None and command_id in command_ids:
            raise error
        return run(name, arguments, command_id, actor, again)

    monkeypatch.setattr(executor, "run", failing)


def test_one_that_fails_when_it_runs_again_goes_to_a_person_and_stops_no_other(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.do("receive", "wrong", store="s1", sku="tea", qty=100)
    judge(replica, cloud, "wrong")
    replica.do("receive", "broken", store="s1", sku="tea", qty=1)
    replica.do("receive", "sound", store="s1", sku="tea", qty=3)
    pulled = replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    with monkeypatch.context() as broken:
        fails(broken, replica.executor, ZeroDivisionError("by the price"), "broken")
        assert replica.run_again(pulled) == ["broken", "sound"]
    entry = replica.entry("broken")
    assert (entry.status, entry.code) == (Status.REVIEW, "failed")
    assert "by the price" in entry.reason
    assert [one.command.id for one in replica.again.review()] == ["broken"]
    assert replica.on_hand("tea") == 3
    applied = replica.again.apply("broken")
    replica.journal.stage(applied.writes or {}, sync=True)
    replica.commit()
    merge_all(replica, cloud)
    assert (replica.entry("broken").status, replica.on_hand("tea")) == (Status.MERGED, 4)


def test_one_that_cannot_run_now_is_passed_over_with_what_comes_behind_it(
    replica: Replica, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command_id, sku in (("waits", "tea"), ("other", "milk"), ("behind", "tea"), ("last", "milk")):
        replica.do("receive", command_id, store="s1", sku=sku, qty=1)
        cloud.rejects[command_id] = "builds_on_refused"
    for sealed in replica.ship():
        cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    found = Round()
    with monkeypatch.context() as unreadable:
        fails(unreadable, replica.executor, NotReadable("of a newer release"), "waits")
        with pytest.raises(NotNow) as waits:
            replica.again.next(found)
        found.passed |= waits.value.documents
        ran = []
        while (executed := replica.again.next(found)) is not None:
            replica.journal.stage(executed.writes or {}, sync=True)
            ran.append(executed.command_id)
        assert ran == ["other", "last"]
    while (executed := replica.again.next()) is not None:
        replica.journal.stage(executed.writes or {}, sync=True)
        ran.append(executed.command_id)
    assert ran[2:] == ["waits", "behind"]


@pytest.mark.usefixtures("quick_ticks")
@pytest.mark.parametrize(
    "why",
    [
        NotReadable("of a newer release"),
        Evicted.of(DocumentId("Stock", "s1", "tea")),
        RegistryUnreachable("no answer", "connect it"),
    ],
)
async def test_an_agent_runs_the_others_again_meanwhile(
    agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, why: EdgeError | RegistryUnreachable
) -> None:
    async def never(document: DocumentId, seconds: float) -> None:
        raise why

    monkeypatch.setattr("driftlog_edge.asking.rerun.APART_SECONDS", 0.01)
    monkeypatch.setattr(agent._sync._rerun, "_bring", never)
    with monkeypatch.context() as unreadable:
        fails(unreadable, agent._executor, why, "waits")
        for command_id, sku in (("waits", "tea"), ("other", "milk")):
            cloud.rejects[command_id] = "builds_on_refused"
            await agent.run("receive", store="s1", sku=sku, qty=1, command_id=command_id)
        await until(lambda: sum(len(batch.commands) for batch in cloud.batches) >= 2)
        cloud.rejects.clear()
        await until(lambda: agent.command("other").status == "merged")
        assert agent.command("waits").status == "shipped"
    await until(lambda: agent.command("waits").status == "merged")


def test_a_crash_before_it_has_run_again_loses_nothing(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives()
    replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    refuse(replica, cloud, "c1", "builds_on_refused")

    reborn = lives()

    assert reborn.again.marked()
    assert reborn.run_again(Pulled({})) == ["c1"]
    assert not reborn.again.marked()


def test_it_says_how_many_of_its_own_changes_are_not_known_yet(replica: Replica, cloud: Cloud) -> None:
    def unsure(command_id: str) -> int:
        entry = entry_of(replica.journal, command_id)
        assert entry is not None
        return replica.views.command(entry.lsn).ops[0].op.unsure

    replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    replica.do("receive", "c2", store="s1", sku="tea", qty=5)
    assert (unsure("c1"), unsure("c2")) == (0, 1)
    refuse(replica, cloud, "c2")
    replica.do("receive", "c3", store="s1", sku="tea", qty=5)
    assert unsure("c3") == 0, "verdicts are known before the states are here"


def to_review(replica: Replica, command_id: str) -> None:
    """Put a pending command on the review list, as a rebase does."""
    entry = replica.entry(command_id)
    writes = replica.outbox.queue.withdraw("retail", S1, entry.lsn)
    for document, _, _ in entry.dots:
        writes[Family.PENDING, keys.pending_key(document.encode(), entry.lsn)] = None
        replica.views.forget(document.encode())
    writes[Family.COMMANDS, command_id.encode()] = entry.with_status(Status.REVIEW, "gone", "it is gone").encode()
    writes[Family.META, keys.review_key(entry.lsn)] = command_id.encode()
    replica.views.backlog.dropped(entry.lsn)
    replica.journal.stage(writes, sync=True)
    replica.commit()


def test_a_reviewed_command_is_kept_and_has_no_effect_until_it_is_applied(replica: Replica) -> None:
    replica.do("receive", "there", store="s1", sku="tea", qty=1)
    replica.do("receive", "doubtful", store="s1", sku="tea", qty=5)
    to_review(replica, "doubtful")
    assert [(r.command.id, r.entry.code) for r in replica.again.review()] == [("doubtful", "gone")]
    assert replica.on_hand("tea") == 1
    assert replica.do("receive", "doubtful", store="s1", sku="tea", qty=5).writes is None, "its id is taken"

    applied = replica.again.apply("doubtful")
    replica.journal.stage(applied.writes or {}, sync=True)

    assert replica.on_hand("tea") == 6
    assert list(replica.again.review()) == []
    assert replica.entry("doubtful").status is Status.PENDING


def test_a_dropped_command_is_rejected_for_good(replica: Replica) -> None:
    replica.do("receive", "doubtful", store="s1", sku="tea", qty=5)
    to_review(replica, "doubtful")
    replica.journal.stage(replica.again.drop("doubtful").writes or {}, sync=True)

    entry = replica.entry("doubtful")
    assert (entry.status, entry.code) == (Status.REJECTED, "dropped")
    assert list(replica.again.review()) == []
    for decide in (replica.again.drop, replica.again.apply):
        with pytest.raises(NotFound):
            decide("doubtful")


async def test_the_review_list_over_http(http: httpx.AsyncClient, agent: EdgeAgent) -> None:
    assert (await http.get("/v1/review")).json() == {"commands": [], "next": None}
    unknown = await http.post("/v1/review/nobody", json={"apply": True})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    for body in ({}, {"apply": True, "drop": True}, {"keep": True}):
        assert (await http.post("/v1/review/nobody", json=body)).status_code == 422


def test_a_person_sees_what_waits_and_decides_over_http_and_on_the_command_line(
    tmp_path: Path, identity: Identity, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.save(tmp_path / "identity.json")
    replica = Replica(tmp_path / "data", identity, ids)
    for number, command_id in enumerate(("one", "two", "three/3", "four"), 1):
        replica.do("receive", command_id, store="s1", sku="tea", qty=10**number)
        to_review(replica, command_id)
    replica.close()
    with served(tmp_path, Access()) as url, httpx.Client(base_url=url, trust_env=False) as http:

        def command_line(*words: str) -> Result:
            return CliRunner().invoke(cli, ["review", words[0], "--url", url, *words[1:]])

        def waiting() -> list[str]:
            return [found["command_id"] for found in http.get("/v1/review").json()["commands"]]

        first, *_ = listed = http.get("/v1/review").json()["commands"]
        assert waiting() == ["one", "two", "three/3", "four"]
        assert [first[name] for name in ("number", "name", "scope", "status", "code", "reason")] == [
            *(1, "receive", "s1", "review", "gone", "it is gone")
        ]
        assert [(c["document"], c["field"], c["op"], c["value"]) for c in first["changes"]] == [
            ("Stock/s1/tea", "on_hand", "increment", 10)
        ]
        assert json.loads(command_line("list", "--json").stdout) == listed
        assert command_line("list").stdout.count("review (gone)") == 4

        paged = http.get("/v1/review?limit=3").json()
        assert (len(paged["commands"]), paged["next"]) == (3, 3)
        assert http.get("/v1/review?limit=3&after=3").json() == {"commands": listed[3:], "next": None}
        with monkeypatch.context() as small:
            small.setattr("driftlog_edge.asking.again.COMMANDS_BYTES", 1)
            assert http.get("/v1/review").json()["next"] == 1, "what is large is a page by itself"
            assert json.loads(command_line("list", "--json").stdout) == listed

        assert http.post("/v1/review/one", json={"apply": True}).json()["result"] == 10
        nameless = command_line("drop", "")
        assert (nameless.exit_code, "no id was given" in nameless.stderr) == (1, True)
        several = command_line("apply", "t", "--json")
        assert (several.exit_code, "2 commands of that list begin with 't'" in several.stderr) == (1, True)
        applied = command_line("apply", "three", "--json")
        assert json.loads(applied.stdout)["result"] == 1010, "on what is there now"
        assert waiting() == ["two", "four"]
        dropped = http.post("/v1/review/two", json={"drop": True}).json()
        assert (dropped["status"], dropped["code"]) == ("rejected", "dropped")
        with monkeypatch.context() as whole:
            whole.setattr("driftlog.cli.edge_people.all_of", lambda *_: pytest.fail("a whole id needs no list"))
            assert "rejected" in command_line("drop", "four").stdout
        assert waiting() == []

        assert http.get("/v1/documents/Stock/s1/tea").json()["value"]["on_hand"] == 1010
        again = http.post("/v1/review/two", json={"apply": True})
        assert (again.status_code, again.json()["code"]) == (404, "not_found")
        assert command_line("apply", "four").exit_code == 1


def test_what_was_put_off_stays_while_something_behind_it_is_on_its_way(replica: Replica, cloud: Cloud) -> None:
    """Its dot comes, or what was sealed behind it would wait for ever."""
    cloud.rejects["first"] = "undeclared"
    replica.do("receive", "first", store="s1", sku="tea", qty=1)
    (first,) = replica.ship()
    replica.do("receive", "second", store="s1", sku="tea", qty=2)
    (second,) = replica.ship()
    cloud.merge(first)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    replica.do("receive", "third", store="s1", sku="tea", qty=4)
    staying: set[int] = set()
    writes = replica.again.take_back("retail", S1, [b"Stock/s1/tea"], lambda command: ("why", "so"), staying)
    replica.journal.stage(writes, sync=True)

    assert staying == {replica.entry("first").lsn}
    assert [one.command.id for one in replica.again.review()] == ["third"], "nothing that is sealed stands on that"
    del cloud.rejects["first"]
    cloud.merge(second)
    replica.outbox.queue.held.release()
    merge_all(replica, cloud)
    assert cloud.states[DocumentId("Stock", "s1", "tea")].vector == {replica.lives.replica: 1}
