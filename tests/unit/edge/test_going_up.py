"""What only goes up: a device holds what it has written itself, until the cloud has had it for a while, and no dot is used twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import httpx
import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_edge import EdgeAgent
from driftlog_edge.errors import NotFound
from driftlog_edge.ports import Family
from driftlog_edge.store import keys, letting_go
from driftlog_edge.store.digests import digest_of
from driftlog_edge.store.generations import serving
from driftlog_edge.store.going_up import note_of
from driftlog_edge.store.lives import LET_GO
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import EPOCH_MS, Replica, finished
from tests.unit.edge.shop import CONTRACT, PARTITIONS
from tests.unit.edge.test_renewal import Folders, folders, receive, settle

__all__ = ["folders"]
pytestmark = pytest.mark.usefixtures("quick_ticks")

S1 = partition_of("s1", PARTITIONS)
STATE = "retail.state"
DAY_MS = 86_400_000
HEAT, COLD, TEA = (
    DocumentId("Reading", "s1", "heat"),
    DocumentId("Reading", "s1", "cold"),
    DocumentId("Stock", "s1", "tea"),
)


def sync(replica: Replica, cloud: Cloud, read: bool = True) -> None:
    """Everything goes out; what is new comes in."""
    for batch in replica.ship():
        cloud.merge(batch)
    if read:
        at = replica.puller.returns.cursor("retail", S1).offset
        replica.pull_states(cloud.of(STATE, S1)[at:], S1)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)


def gone_up(replica: Replica, cloud: Cloud, names: Iterable[str]) -> None:
    """Readings of these names, written and merged."""
    for name in names:
        replica.run("sense", store="s1", name=name)
    replica.commit()
    sync(replica, cloud)


def days_pass(replica: Replica, cloud: Cloud, days: float) -> None:
    """The cloud publishes something after them."""
    cloud.now_ms += int(days * DAY_MS)
    cloud.write(TEA, "on_hand", "increment", 1)
    sync(replica, cloud)


def let_go(replica: Replica) -> int:
    """One pass; the bytes that it freed."""
    freed = 0
    while (step := replica.letting_go.step()) is not None:
        replica.journal.stage(step.writes, sync=False)
        for key in step.documents:
            replica.views.forget(key)
        replica.commit()
        freed += step.freed
    return freed


def rows(replica: Replica) -> list[str]:
    held = (keys.document_of_confirmed(key) for key, _ in replica.store.scan(Family.CONFIRMED, b""))
    return sorted(key.decode() for key in held if key.startswith(b"Reading/"))


def gone(replica: Replica, name: str = "heat") -> bool:
    try:
        replica.value("Reading", "s1", name)
    except NotFound:
        return True
    return False


def count(cloud: Cloud, document: DocumentId = HEAT) -> int:
    rules = CONTRACT.collection("Reading").document
    return int(rules.field_value(cloud.states[document], "times"))  # type: ignore[call-overload]


def test_what_the_cloud_has_leaves_when_its_time_is_over_and_not_before(replica: Replica, cloud: Cloud) -> None:
    replica.do("sense", store="s1", name="heat", note="warm")
    sync(replica, cloud)
    days_pass(replica, cloud, 0.9)
    assert let_go(replica) == 0
    assert replica.value("Reading", "s1", "heat")["times"] == 1

    days_pass(replica, cloud, 0.2)
    assert let_go(replica) > 0
    assert rows(replica) == []
    assert gone(replica)
    assert count(cloud) == 1


def test_what_is_written_later_goes_on_where_the_cloud_stands(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives()
    for _ in range(3):
        replica.do("sense", store="s1", name="heat", note="warm")
    sync(replica, cloud)
    days_pass(replica, cloud, 2)
    assert let_go(replica)

    replica = lives()
    replica.do("sense", "later", store="s1", name="heat", note="cold")
    sync(replica, cloud)
    assert replica.entry("later").status.value == "merged"
    assert count(cloud) == 4
    assert len(cloud.states[HEAT].vector) == 1, "no other life was needed"
    assert replica.value("Reading", "s1", "heat") == {"store": "s1", "name": "heat", "times": 4, "note": "cold"}


def test_what_others_write_is_not_kept_and_the_digests_agree(replica: Replica, cloud: Cloud) -> None:
    cloud.write(COLD, "times", "increment", 5)
    replica.do("sense", store="s1", name="heat")
    replica.do("receive", store="s1", sku="tea", qty=1)
    sync(replica, cloud)
    cloud.write(COLD, "times", "increment", 5)
    sync(replica, cloud)
    assert rows(replica) == ["Reading/s1/heat"]
    cloud.write(COLD, DOCUMENT, DELETE, None)
    sync(replica, cloud)
    assert rows(replica) == ["Reading/s1/heat"]
    known = digest_of(replica.journal, "retail", S1, serving(replica.journal, "retail", S1), "s1")
    assert known.own == known.told == cloud.digest("retail", "s1") != 0


@pytest.mark.parametrize("confirmed", [False, True], ids=["none of it", "a part of it"])
def test_what_the_cloud_does_not_have_never_leaves(
    lives: Callable[..., Replica], cloud: Cloud, confirmed: bool
) -> None:
    replica = lives()
    if confirmed:
        replica.do("sense", store="s1", name="heat")
        sync(replica, cloud)
    replica.do("sense", "waits", store="s1", name="heat")
    cloud.now_ms += 365 * DAY_MS
    cloud.write(TEA, "on_hand", "increment", 1)
    at = replica.puller.returns.cursor("retail", S1).offset
    replica.pull_states(cloud.of(STATE, S1)[at:], S1)
    assert let_go(replica) == 0
    replica = lives()
    assert replica.value("Reading", "s1", "heat")["times"] == 1 + confirmed
    sync(replica, cloud)
    assert count(cloud) == 1 + confirmed
    assert replica.entry("waits").status.value == "merged"


@pytest.mark.parametrize("year_ms", [-600_000 * 3_600_000, 4 * 365 * DAY_MS], ids=["1970 or so", "2030"])
def test_the_devices_own_clock_lets_nothing_go(replica: Replica, cloud: Cloud, year_ms: int) -> None:
    replica.do("sense", store="s1", name="heat")
    sync(replica, cloud)
    replica.clock.ms = max(0, replica.clock.ms + year_ms)
    cloud.write(TEA, "on_hand", "increment", 1)
    sync(replica, cloud)
    assert let_go(replica) == 0
    assert not gone(replica)


def test_what_is_deleted_stays_until_it_is_purged_and_begins_anew_after_that(replica: Replica, cloud: Cloud) -> None:
    replica.do("sense", store="s1", name="heat")
    replica.do("sense", store="s1", name="cold")
    sync(replica, cloud)
    days_pass(replica, cloud, 2)
    let_go(replica)
    for document in (HEAT, COLD):
        cloud.write(document, DOCUMENT, DELETE, None)
        number = len(cloud.of("retail.ops", S1))
        cloud.purge(document, [*groups.headers(number, last=True), groups.purged(number)])
    sync(replica, cloud)
    assert note_of(replica.journal, "retail", S1, document_key(HEAT)) is None
    replica.do("sense", "anew", store="s1", name="heat")
    sync(replica, cloud)
    assert replica.entry("anew").status.value == "merged"
    assert count(cloud) == 1, "what was deleted does not come back"


def test_a_purge_that_was_missed_shows_when_the_partition_is_read_again(replica: Replica, cloud: Cloud) -> None:
    for name in ("heat", "cold"):
        replica.do("sense", store="s1", name=name)
    sync(replica, cloud)
    days_pass(replica, cloud, 2)
    let_go(replica)
    del cloud.states[HEAT]
    log = cloud.topics[STATE, S1]
    log[:] = [record for record in log if record.key != document_key(HEAT)]
    replica.journal.stage(
        replica.puller.returns.begin("retail", S1, "first", "away", replica.clock.ms, anew=False), sync=True
    )
    replica.take(lambda: finished(replica.puller.states("retail", STATE, S1, log, at_end=True)))
    for pulled in replica.puller.returns.tidy():
        if pulled is not None:
            replica.take(lambda pulled=pulled: pulled)  # type: ignore[misc]
    for name in ("heat", "cold"):
        replica.do("sense", f"new {name}", store="s1", name=name)
    for batch in replica.ship():
        cloud.merge(batch)
    assert (count(cloud, HEAT), count(cloud, COLD)) == (1, 2)


def test_old_records_turn_no_note_back(replica: Replica, cloud: Cloud) -> None:
    for _ in range(3):
        replica.do("sense", store="s1", name="heat")
        sync(replica, cloud)
    days_pass(replica, cloud, 2)
    let_go(replica)
    replica.pull_states(cloud.of(STATE, S1)[:1], S1)
    note = note_of(replica.journal, "retail", S1, document_key(HEAT))
    assert note is not None
    assert note.made == {replica.lives.replica: 3}
    assert rows(replica) == []


def test_notes_are_bounded_by_a_new_life(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letting_go, "MOST_NOTES", 250)
    replica = lives()
    first = replica.lives.replica
    gone_up(replica, cloud, [f"n{number}" for number in range(250)])
    days_pass(replica, cloud, 2)
    let_go(replica)
    assert replica.lives.newest.why == LET_GO
    assert list(replica.store.scan(Family.META, keys.GOING_UP)) == []
    replica = lives()
    replica.do("sense", "later", store="s1", name="n7")
    sync(replica, cloud)
    assert replica.entry("later").status.value == "merged"
    again = DocumentId("Reading", "s1", "n7")
    assert cloud.states[again].vector == {first: 1, replica.lives.replica: 1}
    assert count(cloud, again) == 2
    assert let_go(replica) == 0
    assert replica.lives.all()[-2].replica == first, "one life, not one for each pass"


def test_where_something_always_waits_lives_are_not_drawn_one_after_another(
    lives: Callable[..., Replica], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letting_go, "MOST_NOTES", 40)
    replica = lives()
    gone_up(replica, cloud, [f"n{number}" for number in range(40)])
    days_pass(replica, cloud, 2)
    replica.do("sense", store="s1", name="waits")
    steps = 0
    while (step := replica.letting_go.step()) is not None and steps < 100:
        replica.journal.stage(step.writes, sync=False)
        replica.commit()
        steps += 1
    assert steps < 100, "a pass comes to its end"
    assert [life.why for life in replica.lives.all()] == ["", LET_GO]

    sync(replica, cloud)
    gone_up(replica, cloud, [f"more {number}" for number in range(20)])
    days_pass(replica, cloud, 2)
    let_go(replica)
    assert list(replica.store.scan(Family.META, keys.GOING_UP)) == [], "what was left goes with a later life"


def restored(folders: Folders, cloud: Cloud, name: str, to: str) -> Replica:
    """A backup of a folder, made before that went on."""
    folders.copy(name, to)
    replica = folders.open(name)
    receive(replica, f"since {to}", 1)
    settle(replica, cloud)
    return folders.open(to)


def test_what_was_let_go_is_not_taken_for_purged_when_another_life_takes_its_changes_along(
    folders: Folders, cloud: Cloud
) -> None:
    replica = folders.open("a")
    replica.do("sense", store="s1", name="heat", note="warm")
    settle(replica, cloud)
    days_pass(replica, cloud, 2)
    assert let_go(replica)
    replica = restored(folders, cloud, "a", "b")
    receive(replica, "under a life that has never written heat", 1)
    settle(replica, cloud)
    replica = restored(folders, cloud, "b", "c")
    replica.do("sense", "later", store="s1", name="heat", note="cold")
    settle(replica, cloud)
    assert replica.lives.newest.rebased == 1
    assert replica.entry("later").status.value == "merged", replica.entry("later")
    assert count(cloud) == 2
    assert cloud.states[HEAT].fields


async def test_a_reader_is_told_what_became_of_it(http: httpx.AsyncClient, agent: EdgeAgent, cloud: Cloud) -> None:
    await agent.run("sense", store="s1", name="heat", wait="merged", seconds=30)
    cloud.now_ms = EPOCH_MS + 2 * DAY_MS
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=30)
    await agent.tidy()
    went = await http.get("/v1/documents/Reading/s1/heat")
    assert (went.status_code, went.json()["code"]) == (410, "let_go")
    assert "Reading only goes up" in went.json()["detail"]
    assert "read model" in went.json()["remedy"]
    never = await http.get("/v1/documents/Reading/s1/cold")
    assert (never.status_code, never.json()["code"]) == (404, "not_held")
    assert "what it has written itself" in never.json()["detail"]
    assert (await http.get("/v1/documents/Reading/s1")).json()["documents"] == []


async def test_the_disk_gets_its_room_back(agent: EdgeAgent, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.store.housekeeping.RECLAIM_BYTES", 1 << 20)
    for number in range(60):
        note = os.urandom(15_000).hex()
        await agent.run("sense", store="s1", name=f"n{number}", note=note, wait="merged", seconds=60)
    full = agent.status()["disk_bytes"]
    agent._housekeeping._pruning._keep_ms = -1
    cloud.now_ms = EPOCH_MS + 2 * DAY_MS
    await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=30)
    await agent.tidy()
    monkeypatch.setattr("driftlog_edge.store.pruning.KEEP_LAST", 1)
    await agent.tidy()
    left = agent.status()["disk_bytes"]
    assert full > 60 * 15_000
    assert left < full / 3, (full, left)
