"""A device that slept through a purge comes back, killed again and again on the way: what it had answered counts exactly once or is in a person's
hands, and nothing that was deleted is there again by itself.

Counts are powers of ten, so that a total shows what is missing and what came twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driftlog_infra.ports import free_port
from driftlog_schemas import topics
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.conftest import LoadRun
from tests.integration.sender import Sender
from tests.load import next_release
from tests.load.app import COLLECTION
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.fleet import cloud, cloud_line, identity, registered
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "guarded"
LOST, OTHER = DocumentId(COLLECTION, PLACE, "lost"), DocumentId(COLLECTION, PLACE, "other")
RETENTION_MS = 4_000
MANY = 450
"""More than a batch takes."""


@pytest.fixture
def forgetting(on_broker: Callable[..., LoadRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadRun:
    """A run whose partitions remember for seconds, and whose workers get the cloud's identity."""
    made = on_broker()
    remembers(made, RETENTION_MS)
    enrol(made.bootstrap, [cloud_line()], made.ids)
    cloud().save(tmp_path / "cloud.json")
    monkeypatch.setenv("DRIFTLOG_CLOUD_IDENTITY", str(tmp_path / "cloud.json"))
    return made


@pytest.fixture
def run(forgetting: LoadRun) -> Iterator[LoadRun]:
    """The same with one worker."""
    with forgetting.worker("only"):
        yield forgetting


def remembers(run: LoadRun, retention_ms: int) -> None:
    """Its topics tell for so long what was deleted; the worker asks them each time."""
    admin = TopicsAdmin(run.bootstrap)
    wanted = topics.space_topics(run.space.name, run.space.partitions, retention_ms)
    admin.apply(topics.plan(wanted, admin.existing([topic.name for topic in wanted])))


def next_of(run: LoadRun) -> LoadRun:
    """The same run with the next release of its app."""
    space = next_release.declare(run.space.name, run.space.partitions).contract.spaces[run.space.name]
    return replace(run, place=replace(run.place, app="tests.load.next_release:app"), space=space)


def hit(edge: EdgeProcess, item: str, times: int, **options: str) -> dict[str, Any]:
    return edge.do("hit", place=PLACE, item=item, times=times, **options)


def review(edge: EdgeProcess) -> dict[str, str]:
    """command id -> why it is there"""
    return {found["command_id"]: found["code"] for found in edge._json("GET", "/v1/review")["commands"]}


def counted(run: LoadRun) -> dict[str, object]:
    """The read model; a document that has only seen refused changes has a row in which nothing is counted."""
    return {item: row["hits"] for item, row in run.rows(PLACE).items() if item != OTHER.id and row["hits"]}


def purged_meanwhile(run: LoadRun, *documents: DocumentId, for_ms: int = 0) -> None:
    """Somebody deletes these, they are forgotten, and so long passes at least; nothing after it, for an agent may take longer to start than this
    retention."""
    fleet = [identity(f"{run.space.name}-past", number, seed=13) for number in range(2)]
    enrol(run.bootstrap, map(registered, fleet), run.ids)
    deleter, busy = (Sender(run, device, PLACE) for device in fleet)
    for document in documents:
        deleter.send(document, 1, delete=True)
    clock, began = iter(range(1, 1000)), time.monotonic()

    def gone() -> bool:
        busy.send(OTHER, next(clock))
        time.sleep(0.5)
        latest = latest_by_key(run.history().state)
        found = [latest.get(document_key(document)) for document in documents]
        forgotten = all(one is not None and one.value is None for one in found)
        return forgotten and time.monotonic() > began + for_ms / 1000

    until(gone, "the tombstones are forgotten", 90)
    remembers(run, topics.RETENTION_MS)


@pytest.mark.parametrize("copies", [1, pytest.param(2, marks=pytest.mark.deep)], ids=["one folder", "a copy beside it"])
def test_a_purge_lies_between_what_was_answered_and_the_way_back(run: LoadRun, copies: int) -> None:
    with run.edge(0, PLACE) as edge:
        for item in ("lost", "kept"):
            hit(edge, item, 1, wait="merged")
        edge.go_offline(True)
        hit(edge, "lost", 10, key="on-the-old-one")
        hit(edge, "kept", 100, key="on-what-stays")
        hit(edge, "new", 1000, key="on-what-was-never-there")
        edge.kill()
        purged_meanwhile(run, LOST)
        folders = [edge]
        if copies == 2:
            copy = run.edge(0, PLACE, folder="copy")
            shutil.rmtree(copy.replica, ignore_errors=True)
            shutil.copytree(edge.replica, copy.replica)
            folders.append(copy)
        try:
            for one in folders:
                one.start()
                one.go_offline(False)
            for pause in (0.3, 1.0, 2.0):
                time.sleep(pause)
                for one in folders:
                    one.kill()
                    one.start()
            for one in folders:
                one.await_quiet()
                until(lambda: len(review(one)) == 2, "a person is asked", 60, one.tail)  # noqa: B023
                assert set(review(one).values()) == {"gone"}
                assert one._json("GET", "/v1/commands/on-what-stays")["status"] == "merged"
            assert counted(run) == {"kept": 101}

            for one in folders:
                for key in review(one):
                    one._json("POST", f"/v1/review/{key}", json={"apply": True})
            for one in folders:
                one.await_quiet()
            run.group.await_drained(60)
            assert counted(run) == {"kept": 101, "lost": 10, "new": 1000}, "once, whoever applied it"
            for one in folders:
                assert hit(one, "lost", 10, key="on-the-old-one")["status"] == "merged"
                assert one.status()["problem"] == ""
        finally:
            for one in folders[1:]:
                one.close()


@pytest.mark.deep
def test_a_device_that_was_away_for_ninety_days_meets_what_was_deleted_purged_made_again_and_declared_anew(
    forgetting: LoadRun,
) -> None:
    """Partitions remember for thirty days, which take a few seconds here. It comes back with the next release, as all the others have it by then."""
    run, made = forgetting, DocumentId(COLLECTION, PLACE, "made again")
    with run.edge(0, PLACE) as edge:
        with run.worker("only"):
            for item in ("lost", made.id, "kept"):
                hit(edge, item, 1, wait="merged")
            edge.go_offline(True)
            hit(edge, "lost", 10, key="on-the-deleted")
            hit(edge, made.id, 100, key="on-the-one-before")
            hit(edge, "kept", 1000, key="on-what-stays")
            edge.do("name", place=PLACE, item="kept", label="as it was called then", key="named")
            edge.do("turn", place=PLACE, meter="gas", key="declared-no-more")
            edge.kill()
            purged_meanwhile(run, LOST, made, for_ms=3 * RETENTION_MS)
        run = next_of(run)
        maker = identity(f"{run.space.name}-maker", 0, seed=13)
        enrol(run.bootstrap, [registered(maker)], run.ids)
        with run.worker("only"), run.edge(0, PLACE) as back:
            Sender(run, maker, PLACE).send(made, 1)
            until(lambda: counted(run).get(made.id) == 1, "it is there again", 90)
            back.go_offline(False)
            asked = {"on-the-deleted": "gone", "on-the-one-before": "gone", "declared-no-more": "undeclared"}
            until(lambda: review(back) == asked, "a person is asked", 90, back.tail)
            for key in ("on-what-stays", "named"):
                path = f"/v1/commands/{key}"
                until(lambda: back._json("GET", path)["status"] == "merged", key, 60, back.tail)  # noqa: B023
            assert counted(run) == {"kept": 1001, made.id: 1}
            assert run.row(PLACE, "kept")["label"] == "as it was called then"
            assert back.do("miss", place=PLACE, item="kept", wait="merged")["result"] == 1, "what is declared since"


def test_a_new_device_writes_before_its_first_contact_with_a_partition_that_forgets(run: LoadRun) -> None:
    """What it had read is nothing, so it is away, reads, and takes along what it wrote; none of that waits for a person."""
    with run.edge(0, PLACE) as edge:
        hit(edge, "lost", 1, wait="merged")
        hit(edge, "kept", 1, wait="merged")
    purged_meanwhile(run, LOST)
    cut_off = replace(run.place, bootstrap=f"127.0.0.1:{free_port()}")
    with EdgeProcess(cut_off, run.edges[1], [PLACE]) as offline:
        for item, times in (("new", 10), ("kept", 100)):
            assert hit(offline, item, times, key=item)["status"] == "pending"
        offline.kill()
    with run.edge(1, PLACE) as back:
        back.await_quiet()
        until(lambda: counted(run) == {"new": 10, "kept": 101}, "all of it counts", 60, back.tail)
        assert review(back) == {}
        assert {back._json("GET", f"/v1/commands/{key}")["status"] for key in ("new", "kept")} == {"merged"}


@pytest.mark.deep
def test_an_old_copy_of_a_folder_comes_back_when_the_chain_row_of_its_life_is_gone(run: LoadRun) -> None:
    """Its name begins no chain again. What both copies held is counted as it was, and a person is asked, also where that is more than is sent at once,
    so that some of it runs again for a refusal; what only this one has comes along.
    """
    cut_off = replace(run.place, bootstrap=f"127.0.0.1:{free_port()}")
    with run.edge(0, PLACE) as edge:
        hit(edge, "kept", 1, wait="merged")
        old = edge.status()["replica"]
        edge.go_offline(True)
        hit(edge, "kept", 10, key="of-both")
        calls = [{"name": "hit", "arguments": {"place": PLACE, "item": "many"}, "id": f"m{n}"} for n in range(MANY)]
        edge.client().post("/v1/commands", json=calls).raise_for_status()
        edge.kill()
        copy = EdgeProcess(cut_off, run.edges[0], [PLACE], "copy")
        shutil.rmtree(copy.replica, ignore_errors=True)
        shutil.copytree(edge.replica, copy.replica)
        edge.start()
        edge.go_offline(False)
        edge.await_quiet()
        edge.kill()
    with copy:
        hit(copy, "kept", 100, key="of-the-copy")
        copy.kill()
    row_removed(run, old)
    assert counted(run) == {"kept": 11, "many": MANY}
    with run.edge(0, PLACE, folder="copy") as back:
        back.go_offline(False)
        until(lambda: "of-both" in review(back), "a person is asked", 90, back.tail)
        back.await_quiet()
        assert back._json("GET", "/v1/commands/of-the-copy")["status"] == "merged"
        assert hit(back, "kept", 1000, wait="merged")["status"] == "merged"
        assert counted(run) == {"kept": 1111, "many": MANY}
        said = [back.command(key) for key in ("of-both", "m0", f"m{MANY - 1}")]
        assert {(one["status"], one["code"]) for one in said} == {("review", "maybe_counted")}
        assert back.status()["replica"] != old
        back._json("POST", "/v1/review/of-both", json={"drop": True})
        back.await_quiet()
        assert counted(run) == {"kept": 1111, "many": MANY}


def row_removed(run: LoadRun, replica: str) -> None:
    """The life is silent until it is retired and, as long after that, has no row; then the space remembers for long again."""
    other = identity(f"{run.space.name}-past", 0, seed=13)
    enrol(run.bootstrap, [registered(other)], run.ids)
    busy, clock = Sender(run, other, PLACE), iter(range(1, 1000))

    def gone() -> bool:
        busy.send(OTHER, next(clock))
        time.sleep(0.5)
        found = latest_by_key(run.history().receipts).get(replica.encode())
        return found is not None and found.value is None

    until(gone, "its chain row is removed", 120)
    remembers(run, topics.RETENTION_MS)
