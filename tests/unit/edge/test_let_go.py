"""What only goes up when something comes between: restarts, refusals, late words, other releases, another topic, readers who ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

import httpx
import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.asking import sessions
from driftlog_edge.errors import Deleted, LetGo, NotFound, NotHeld
from driftlog_edge.ports import Family
from driftlog_edge.salvage.run import salvage
from driftlog_edge.store import keys
from driftlog_edge.store.generations import serving
from driftlog_edge.store.going_up import STAYS, Note, note_of
from driftlog_schemas import groups
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, Replica
from tests.unit.edge.shop import CONTRACT, app
from tests.unit.edge.test_going_up import COLD, DAY_MS, HEAT, S1, STATE, count, days_pass, gone, let_go, rows, sync
from tests.unit.edge.test_puller import dispute
from tests.unit.edge.test_returning import look, read, tidy
from tests.unit.edge.waiting import until

pytestmark = pytest.mark.usefixtures("quick_ticks")


def older() -> AppContract:
    """A release that does not know of readings yet."""
    retail = CONTRACT.spaces["retail"]
    kept = {name: one for name, one in retail.collections.items() if name != "Reading"}
    return changed(CONTRACT, spaces={**CONTRACT.spaces, "retail": changed(retail, collections=kept)})


def note(replica: Replica, document: DocumentId = HEAT) -> Note | None:
    return note_of(replica.journal, "retail", S1, document_key(document))


def went(replica: Replica, cloud: Cloud, times: int = 1) -> None:
    """A reading was written, confirmed, and let go."""
    for _ in range(times):
        replica.do("sense", store="s1", name="heat", note="warm")
    sync(replica, cloud)
    days_pass(replica, cloud, 2)
    assert let_go(replica)
    assert gone(replica)


# -- letting go


def test_a_kill_between_two_steps_leaves_each_document_whole(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.store.letting_go.LOOK_AT", 2)
    replica = lives()
    for number in range(5):
        replica.do("sense", store="s1", name=f"n{number}")
    sync(replica, cloud)
    days_pass(replica, cloud, 2)
    step = replica.letting_go.step()
    assert step is not None
    replica.journal.stage(step.writes, sync=False)
    replica.commit()
    step = replica.letting_go.step()
    assert step is not None
    replica.journal.stage(step.writes, sync=False)  # and never written

    replica = lives()
    assert len(rows(replica)) == 3
    days_pass(replica, cloud, 0)
    let_go(replica)
    assert rows(replica) == []
    for number in range(5):
        replica.do("sense", f"again {number}", store="s1", name=f"n{number}")
    sync(replica, cloud)
    assert [count(cloud, DocumentId("Reading", "s1", f"n{number}")) for number in range(5)] == [2] * 5


def test_a_deletion_is_remembered_until_its_purge(replica: Replica, cloud: Cloud) -> None:
    went(replica, cloud)
    cloud.write(HEAT, DOCUMENT, DELETE, None)
    sync(replica, cloud)
    days_pass(replica, cloud, 300)
    assert let_go(replica) == 0
    with pytest.raises(Deleted):
        replica.value("Reading", "s1", "heat")
    kept = note(replica)
    assert kept is not None and kept.due_ms == STAYS

    replica.do("sense", "anew", store="s1", name="heat")
    sync(replica, cloud)
    assert replica.value("Reading", "s1", "heat")["times"] == count(cloud)
    days_pass(replica, cloud, 2)
    assert let_go(replica), "it is there again, and goes as others do"
    assert replica.entry("anew").status.value == "merged"


def test_a_late_word_on_what_went_brings_nothing_back(replica: Replica, cloud: Cloud) -> None:
    replica.do("sense", store="s1", name="heat")
    sync(replica, cloud)
    early = next(r for r in cloud.of(STATE, S1) if r.key == document_key(HEAT))
    went(replica, cloud, times=2)
    before = note(replica)
    replica.do("sense", "waits", store="s1", name="heat")
    end = len(cloud.of(STATE, S1))
    late = early._replace(offset=end, headers=tuple(groups.headers(0, last=True)))
    replica.pull_states([late], S1)
    assert (rows(replica), note(replica)) == ([], before)
    for batch in replica.ship():
        cloud.merge(batch)
    assert count(cloud) == 4


# -- refusals


def test_a_refusal_of_what_is_written_on_what_went_takes_nothing_else(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives()
    went(replica, cloud, times=3)
    cloud.rejects["no"] = "recount"
    replica.do("sense", "no", store="s1", name="heat")
    replica.do("sense", "yes", store="s1", name="heat")
    replica = lives()
    sync(replica, cloud)
    assert replica.entry("no").status.value == "rejected"
    assert replica.entry("yes").status.value == "merged"
    assert count(cloud) == 4
    assert replica.value("Reading", "s1", "heat")["times"] == 4
    days_pass(replica, cloud, 2)
    let_go(replica)
    replica.do("sense", "later", store="s1", name="heat")
    sync(replica, cloud)
    assert count(cloud) == 5


@pytest.mark.parametrize("how", ["rejects", "forbids"])
def test_of_what_was_refused_nobody_says_that_the_cloud_has_it(
    lives: Callable[..., Replica], cloud: Cloud, how: str
) -> None:
    replica = lives()
    if how == "rejects":
        cloud.rejects["no"] = "recount"
    else:
        cloud.forbids.add("no")
    replica.do("sense", "no", store="s1", name="heat")
    sync(replica, cloud)
    assert replica.entry("no").status.value == "rejected"
    assert list(replica.store.scan(Family.PENDING, b"")) == []
    with pytest.raises(NotFound):
        replica.value("Reading", "s1", "heat")
    days_pass(replica, cloud, 2)
    assert let_go(replica) == 0
    cloud.forbids.clear()


# -- other releases, other topics


def test_a_release_that_does_not_know_it_keeps_what_was_written_here_and_no_more(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    replica = lives()
    replica.do("sense", store="s1", name="heat")
    sync(replica, cloud)
    replica.do("sense", "sent", store="s1", name="heat")
    (batch,) = replica.ship()

    replica = lives(contract=older())
    cloud.merge(batch)
    cloud.write(COLD, "times", "increment", 5)
    sync(replica, cloud)
    days_pass(replica, cloud, 9)
    assert let_go(replica) == 0, "who cannot read it cannot tell what it has seen"
    unread = [keys.document_of_confirmed(key) for key, _ in replica.store.scan(Family.UNREAD, b"")]
    assert unread == [document_key(HEAT)]

    replica = lives()
    tidy(replica)
    assert replica.value("Reading", "s1", "heat")["times"] == 2
    assert rows(replica) == ["Reading/s1/heat"]
    days_pass(replica, cloud, 9)
    assert let_go(replica)
    replica.do("sense", "later", store="s1", name="heat")
    sync(replica, cloud)
    assert replica.entry("later").status.value == "merged"
    assert count(cloud) == 3


def test_what_cannot_be_read_of_others_is_not_kept(replica: Replica, cloud: Cloud) -> None:
    replica.do("sense", store="s1", name="heat")
    sync(replica, cloud)
    for document in (HEAT, COLD):
        cloud.write(document, "times", "increment", 1)
        log = cloud.topics[STATE, S1]
        log[-1] = log[-1]._replace(value=cloud.state_value(document)[:5] + b"\xff\xff")  # as of another release
    sync(replica, cloud)
    unread = [keys.document_of_confirmed(key) for key, _ in replica.store.scan(Family.UNREAD, b"")]
    assert unread == [document_key(HEAT)]


def test_a_topic_filled_from_an_older_copy_has_the_last_word(replica: Replica, cloud: Cloud) -> None:
    replica.do("sense", store="s1", name="heat")
    sync(replica, cloud)
    copy, old = cloud.state_value(HEAT), replica.lives.replica
    went(replica, cloud)
    known = note(replica)
    assert known is not None and known.made[old] > 1
    cloud.topics[STATE, S1].clear()
    cloud.topic_ids[STATE] = "second"
    cloud.publish(STATE, S1, document_key(HEAT), copy, groups.headers(0, last=True))
    assert look(replica, cloud)
    read(replica, cloud)
    tidy(replica)
    assert serving(replica.journal, "retail", S1) == 1
    assert replica.value("Reading", "s1", "heat")["times"] == 1
    assert replica.lives.chain("retail", S1).fork == "made_anew"
    cloud.now_ms += 3 * DAY_MS
    replica.going_up.heard(cloud.now_ms)
    assert let_go(replica)
    known = note(replica)
    assert known is not None and known.made == {old: 1}, "what the copy lacks is gone"


# -- what comes and goes with it


def test_one_command_may_write_what_goes_up_and_what_goes_both_ways(
    lives: Callable[..., Replica], cloud: Cloud, tmp_path: Path, ids: FixedIds
) -> None:
    replica = lives()
    went(replica, cloud)
    replica.do("sense", "both", store="s1", name="heat", sku="tea")
    other = Replica(tmp_path / "other", Identity.create("store-2"), ids)
    try:
        other.do("sense", "other", store="s1", name="heat", sku="tea")
        for one in (replica, other, replica):
            sync(one, cloud)
        tea = other.value("Stock", "s1", "tea")["on_hand"]
        assert replica.value("Stock", "s1", "tea")["on_hand"] == tea
        assert count(cloud) == 3
        assert replica.value("Reading", "s1", "heat")["times"] == 3, "who has written it sees it whole"
        days_pass(replica, cloud, 2)
        assert let_go(replica)
        sync(other, cloud)
        assert rows(other) == ["Reading/s1/heat"], "each lets go by itself"
        assert replica.value("Stock", "s1", "tea") == other.value("Stock", "s1", "tea")
        assert replica.entry("both").status.value == other.entry("other").status.value == "merged"
    finally:
        other.close()


# -- who asks


async def let_go_of(agent: EdgeAgent, cloud: Cloud) -> str:
    """The session of who has written and read it before it went."""
    await agent.run("sense", store="s1", name="heat", wait="merged", seconds=60)
    cloud.write(HEAT, "times", "increment", 5)
    session = (await agent.read("Reading", "s1", "heat", consistency="strong", seconds=60)).session
    cloud.now_ms = EPOCH_MS + 2 * DAY_MS
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=60)
    await agent.tidy()
    return session


async def test_a_causal_read_of_what_went_is_answered_at_once(
    agent: EdgeAgent, http: httpx.AsyncClient, cloud: Cloud
) -> None:
    session = await let_go_of(agent, cloud)
    for consistency in ("causal", "strong", "eventual"):
        found = await http.get(
            "/v1/documents/Reading/s1/heat",
            params={"consistency": consistency, "session": session, "timeout": "30s"},
        )
        assert (found.status_code, found.json()["code"]) == (410, "let_go"), consistency
    elsewhere = sessions.extend("", {"Reading/s1/never": {"other.1": 7}})
    found = await http.get(
        "/v1/documents/Reading/s1/never", params={"consistency": "causal", "session": elsewhere, "timeout": "30s"}
    )
    assert (found.status_code, found.json()["code"]) == (404, "not_held")


async def test_what_is_written_on_what_went_is_shown_to_nobody_as_the_whole(
    agent: EdgeAgent, http: httpx.AsyncClient, cloud: Cloud
) -> None:
    await let_go_of(agent, cloud)
    await agent.offline()
    await agent.run("sense", store="s1", name="heat")
    found = await http.get("/v1/documents/Reading/s1/heat")
    assert (found.status_code, found.json()["code"]) == (410, "let_go")
    assert "not confirmed yet" in found.json()["detail"]
    assert (await http.get("/v1/documents/Reading/s1")).json()["documents"] == []
    await agent.run("sense", store="s1", name="new")
    (first,) = (await http.get("/v1/documents/Reading/s1")).json()["documents"]
    assert (first["value"]["name"], first["value"]["times"]) == ("new", 1), "nobody else has written of that"

    await agent.online()
    reading = await agent.read("Reading", "s1", "heat", consistency="strong", seconds=60)
    assert reading.value["times"] == 7


async def test_a_watcher_is_told_of_a_change_and_by_reading_where_it_is(agent: EdgeAgent, cloud: Cloud) -> None:
    await let_go_of(agent, cloud)
    before = agent.watchers.now
    await agent.run("sense", store="s1", name="heat", wait="merged", seconds=60)
    documents = [change.document async for change in agent.watchers.watch("Reading", "s1", before, seconds=0.5)]
    assert HEAT in documents
    assert (await agent.read("Reading", "s1", "heat")).value["times"] == 7
    cloud.now_ms += 2 * DAY_MS
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=60)
    await agent.tidy()
    with pytest.raises(LetGo):
        await agent.read("Reading", "s1", "heat")


# -- folders and scopes


async def test_a_salvaged_folder_goes_on_where_the_cloud_stands(
    config: EdgeConfig, cloud: Cloud, ids: FixedIds, tmp_path: Path
) -> None:
    async with EdgeAgent(app, config, route=CloudRoute(cloud), ids=ids) as agent:
        await let_go_of(agent, cloud)
        await agent.run("sense", store="s1", name="cold", wait="merged", seconds=60)
        await agent.offline()
        await agent.run("sense", store="s1", name="heat")
        await agent.run("sense", store="s1", name="cold")
    salvage(CONTRACT, config.data_dir, tmp_path / "new", ())
    again = config.model_copy(update={"data_dir": tmp_path / "new"})
    async with EdgeAgent(app, again, route=CloudRoute(cloud), ids=ids) as agent:
        with pytest.raises(LetGo):
            await agent.read("Reading", "s1", "heat")
        await agent.online()
        await until(lambda: agent.status()["pending"] == 0 and not agent.status()["read_again"])
        assert (count(cloud, HEAT), count(cloud, COLD)) == (7, 2)
        await agent.run("sense", store="s1", name="heat", wait="merged", seconds=60)
        reading = await agent.read("Reading", "s1", "heat", consistency="strong", seconds=60)
        assert reading.value["times"] == count(cloud, HEAT) == 8


async def test_a_scope_that_was_left_and_is_held_again_uses_no_dot_twice(agent: EdgeAgent, cloud: Cloud) -> None:
    await let_go_of(agent, cloud)
    await agent.run("sense", store="s1", name="cold", wait="merged", seconds=60)
    await agent.hold(["s2"])
    await agent.hold(["s1", "s2"])
    for name in ("heat", "cold"):
        await agent.run("sense", store="s1", name=name, wait="merged", seconds=60)
    assert (count(cloud, HEAT), count(cloud, COLD)) == (7, 2)
    assert (await agent.read("Reading", "s1", "cold", consistency="strong", seconds=60)).value["times"] == 2


# -- who gathers


async def test_who_gathers_holds_what_all_devices_have_written_and_its_conflicts(
    config: EdgeConfig, cloud: Cloud, ids: FixedIds
) -> None:
    """A folder that did not before reads again what had passed it by."""
    cloud.write(COLD, "times", "increment", 5)
    dispute_of_cold = dispute(COLD)
    cloud.publish_conflict(dispute_of_cold)
    route = CloudRoute(cloud)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await let_go_of(agent, cloud)
        with pytest.raises(NotHeld):
            await agent.read("Reading", "s1", "cold")
        assert agent.conflicts() == []
    gathers = config.model_copy(update={"gathers": True})
    for _ in range(2):
        async with EdgeAgent(app, gathers, route=route, ids=ids) as agent:
            await agent.online()
            await until(lambda: not agent.status()["read_again"] and agent.conflicts() != [])
            assert (await agent.read("Reading", "s1", "cold")).value["times"] == 5
            assert (await agent.read("Reading", "s1", "heat")).value["times"] == count(cloud, HEAT)
            assert [conflict.id for conflict in agent.conflicts()] == [dispute_of_cold.id]
            cloud.now_ms += 30 * DAY_MS
            await agent.run("sense", store="s1", name="heat", wait="merged", seconds=60)
            cloud.now_ms += 30 * DAY_MS
            await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=60)
            await agent.tidy()
            assert (await agent.read("Reading", "s1", "heat")).value["times"] == count(cloud, HEAT)
            with pytest.raises(NotFound):
                await agent.read("Reading", "s1", "nobody's")
            assert agent.status()["mismatches"] == 0
    with pytest.raises(InvalidInput, match="gathers"):
        async with EdgeAgent(app, config, route=route, ids=ids):
            pass
