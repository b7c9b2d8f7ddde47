"""A space goes on with another number of partitions under load, on a real broker: whatever its logs had up to their ends is there, once, and all goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import CLOSER, DocumentId, document_key, parse_document_key
from driftlog_schemas.moves import Moved, following_name, present
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Ended, Shell
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE, require_known_everywhere, selling, sold
from tests.load.app import COLLECTION, COUNTER, LABEL, TAGS
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.expectation import Expectation, expected
from tests.load.feeder import Feeder
from tests.load.fleet import Fleet, operator
from tests.load.ground import enrol
from tests.load.history import TopicRecord, read_space, read_topic
from tests.load.waiting import Group, until
from tests.load.workers import CHECKOUT
from tests.load.workload import Shape, Workload

pytestmark = [pytest.mark.broker, pytest.mark.slow]

APP = ("--app", "tests.load.app:app")
BEFORE, AFTER = 3, 7


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> LoadRun:
    made = on_broker(partitions=BEFORE, ops_per_batch=5, keys=300)
    made.edges = tuple(replace(one, root=operator().certificate.root) for one in made.edges)
    return made


@pytest.fixture
def shell(run: LoadRun, beside: Callable[[LoadRun], Shell], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return beside(run)


def move(*options: str, to: int = AFTER) -> tuple[str, ...]:
    return ("topics", "repartition", *APP, "--partitions", str(to), "--wait", "120", "--json", *options)


def up_to_their_ends(run: LoadRun, records: list[TopicRecord]) -> Iterator[TopicRecord]:
    """What counts of the old op topic."""
    ends: dict[int, int] = {}
    for record in records:
        if record.key == CLOSER.encode():
            ends.setdefault(record.partition, record.offset)
    assert len(ends) == run.space.partitions
    return (record for record in records if record.offset < ends[record.partition])


def made_by(run: LoadRun, records: Iterator[TopicRecord]) -> Expectation:
    """What follows from these records, by arithmetic alone."""
    found, codec = Expectation(), BatchCodec(run.ids)
    seen: set[tuple[str, int, int]] = set()
    for record in records:
        batch = decode_body(codec.open(record.value or b"").body)
        if (batch.replica, batch.partition, batch.number) not in seen:
            seen.add((batch.replica, batch.partition, batch.number))
            for document, op in (pair for command in batch.commands for pair in command.ops):
                found.add(document, op)
    return found


def require_exact(run: LoadRun, space: SpaceContract, wanted: Expectation) -> None:
    """Each document of the successor is what its ops say, in the partition of its scope, and there is no other."""
    latest = latest_by_key(read_topic(run.bootstrap, topics.state_topic(space.name)))
    codec = StateCodec(space.collections[COLLECTION], run.ids)
    assert latest.keys() == {document_key(document) for document in wanted.ops}
    for key, record in latest.items():
        document, value = parse_document_key(key), record.value
        assert value is not None and record.partition == partition_of(document.scope, AFTER), document
        row, state, end = codec.decode_row(value), codec.decode(value), expected(wanted.ops[DocumentId(*document)])
        found = (row[COUNTER], row[LABEL], frozenset(row[TAGS]), dict(state.vector))
        assert found == (end.hits, end.label, end.tags, end.vector), document


def last_line(ended: Ended) -> dict[str, object]:
    return dict(json.loads(ended.out))


def killed(shell: Shell, folder: Path, when: Callable[[], bool], what: str) -> None:
    """The command is ended by SIGKILL at some moment."""
    log = folder / "torn.log"
    torn = shell.start(*move("--yes"), log=log)
    try:
        until(when, what, 120, log.read_text)
    finally:
        torn.send_signal(signal.SIGKILL)
        torn.wait()


def findings(shell: Shell) -> list[dict[str, str]]:
    """What the doctor says."""
    return list(json.loads(shell.run("doctor", *APP, "--json").out))


@pytest.mark.deep
def test_another_partition_count_under_load(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    admin = TopicsAdmin(run.bootstrap)
    only = run.worker("only", workers=2)
    with only as worker:
        with run.feeder(2_000, records_per_second=0):
            pass
        run.group.await_drained(90, worker.tail)
        asked = shell.run(*move())
        asked.assert_failed(1, "nothing was changed")
        assert last_line(asked)["closed"] == [] and last_line(asked)["documents"] != 0

        load = run.feeder(100_000, records_per_second=150)
        with load:
            killed(shell, tmp_path, lambda: "the op log is closed" in worker.log.read_text(), "a log is closed")
            found = [one for one in findings(shell) if one["what"] == f"space {run.space.name}"]
            assert len(found) == 1 and f"being given {AFTER} partitions" in found[0]["fact"]
            worker.kill()
            states = topics.state_topic(following_name(run.space.name, 2))
            killed(shell, tmp_path, lambda: states in admin.partition_counts(), "the new topics are there")
            late = worker.freeze()
            done = shell.run(*move("--yes"))
            assert done.code == 0, (done, worker.tail())
            worker.thaw(late)
            run.workload.stop()
        told = last_line(done)
        moved = Moved(2, AFTER, int(str(told["begins"])), (0,) * BEFORE)
        space = present(run.space, lambda name: moved if name == run.space.name else None)
        assert told["topics"] == space.name and admin.partition_counts()[topics.ops_topic(space.name)] == AFTER
        wanted = made_by(run, up_to_their_ends(run, read_topic(run.bootstrap, topics.ops_topic(run.space.name))))
        assert run.workload.expectation.count > wanted.count, "some came behind the end"
        require_exact(run, space, wanted)

        others = Fleet.of(f"{run.space.name}-later", 5, seed=21)
        enrol(run.bootstrap, others.registry(), run.ids)
        shape = Shape(space.name, AFTER, keys=300, ops_per_batch=5, read=moved.begins - 1)
        later = Workload(shape, others, run.ids, start_ms=time.time_ns() // 1_000_000)
        group = Group(run.bootstrap, topics.SpaceTopics(space.name).group, topics.ops_topic(space.name), AFTER)
        with Feeder(run.bootstrap, topics.ops_topic(space.name), later.records(1_000), per_second=0):
            pass
        group.await_drained(120, worker.tail)
        for document, ops in later.expectation.ops.items():
            for op in ops:
                wanted.add(document, op)
        require_exact(run, space, wanted)
        assert not [r for r in read_space(run.bootstrap, space.name).parked if r.value is not None]
        again = shell.run(*move("--yes"))
        again.assert_done()
        assert last_line(again)["done"], "once more is nothing to do"
        assert not [one for one in findings(shell) if one["level"] == "wrong" and run.space.name in one["what"]]
        group.close()


PLACES = (PLACE, *(f"place {number}" for number in range(6)))
FOLLOWED = "a space is followed to where it goes on"


class Counted:
    """An agent that holds all places, and how often it has hit an item of its own in each."""

    def __init__(self, edge: EdgeProcess, item: str) -> None:
        self.edge, self.item, self.count = edge, item, 0

    def hit(self) -> None:
        """Once in each place."""
        for place in PLACES:
            self.edge.do("hit", place=place, item=self.item)
        self.count += 1

    def again(self) -> None:
        """SIGKILL, and another start in the same folder."""
        self.edge.kill()
        self.edge.start()

    def shows(self, wanted: dict[tuple[str, str], int]) -> bool:
        """Does it show these, and no others of them?"""
        found = {(place, item): self.edge.find(place, item) for place, item in wanted}
        return {spot: value and value["hits"] for spot, value in found.items()} == wanted


def says(edge: EdgeProcess, what: str) -> Callable[[], bool]:
    """Has its log told that?"""
    return lambda: what in edge.log.read_text(errors="replace")


def has_followed(edge: EdgeProcess) -> bool:
    """Does it run where the space goes on?"""
    _, told, since = edge.log.read_text(errors="replace").rpartition(FOLLOWED)
    return bool(told) and "agent runs" in since and edge.answers()


def test_agents_follow_under_load_killed_and_away(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    """Two sell without a pause, one is killed again and again, one is offline over it all: each hit counts once, and everybody shows all."""
    worker, (torn, away) = run.worker("only", workers=2), (run.edge(number, *PLACES) for number in (2, 3))
    with worker, torn, away, selling(run) as sales:
        killed_often, offline = Counted(torn, "torn"), Counted(away, "away")
        for one in (killed_often, offline):
            one.hit()
            one.edge.await_quiet()
        for sale in sales:
            sale.more()
        away.go_offline(True)
        offline.hit()
        away.kill()
        killed(shell, tmp_path, lambda: "the op log is closed" in worker.log.read_text(), "a log is closed")
        killed_often.hit()
        killed_often.again()
        killed_often.hit()
        for sale in sales:
            sale.more()
        done = shell.run(*move("--yes"))
        assert done.code == 0, (done, worker.tail())
        until(says(torn, "all that came of a closed log is here"), "it follows", 120, torn.tail)
        killed_often.again()
        killed_often.hit()
        away.start()
        offline.hit()
        away.go_offline(False)
        for sale in sales:
            sale.more()
        agents = [*(sale.edge for sale in sales), torn, away]
        for edge in agents:
            until(lambda edge=edge: has_followed(edge), f"{edge.device.device_id} follows", 120, edge.tail)  # type: ignore[misc]
        killed_often.again()
        killed_often.hit()
        wanted = {(PLACE, item): count for item, count in sold(sales, 120).items()}
        for one in (killed_often, offline):
            one.edge.await_quiet(120)
            wanted |= {(place, one.item): one.count for place in PLACES}
        for one in (killed_often, offline):
            until(lambda one=one: one.shows(wanted), "it shows all", 120, one.edge.tail)  # type: ignore[misc]
        require_known_everywhere(sales, {item: count for (place, item), count in wanted.items() if place == PLACE})
        assert (killed_often.count, offline.count) == (5, 3)
        for edge in agents:
            status = edge.status()
            assert [life["why"] for life in status["lives"]][-1] == "moved", status["lives"]
            assert status["problem"] == "" and edge._json("GET", "/v1/review")["commands"] == []
    latest = latest_by_key(read_topic(run.bootstrap, topics.state_topic(following_name(run.space.name, 2))))
    codec = StateCodec(run.space.collections[COLLECTION], run.ids)
    rows = {parse_document_key(key): codec.decode_row(record.value or b"") for key, record in latest.items()}
    assert {(document.scope, document.id): row[COUNTER] for document, row in rows.items()} == wanted
