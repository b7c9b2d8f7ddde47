"""A read model that has lost records is made once more beside the one that runs, and workers and agents go over to it while they work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from driftlog_schemas.topics import SpaceTopics
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.admin_clients import admin_of
from tests.integration.cli.shell import Ended, Shell
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.fleet import operator
from tests.load.waiting import Group, until
from tests.load.workers import CHECKOUT

pytestmark = [pytest.mark.broker, pytest.mark.slow]

APP = ("--app", "tests.load.app:app")
PLACE = "hall"
ITEMS = [f"item-{number}" for number in range(6)]


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> LoadRun:
    """Its devices know whose word the registry is, so their agents follow what the operator says of the space."""
    made = on_broker(partitions=2, ops_per_batch=5)
    made.edges = tuple(replace(one, root=operator().certificate.root) for one in made.edges)
    return made


@pytest.fixture
def shell(run: LoadRun, beside: Callable[[LoadRun], Shell], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return beside(run)


def to(shell: Shell, generation: int, *options: str) -> Ended:
    return shell.run("replay", *APP, "--to-generation", str(generation), "--wait", "120", "--json", *options)


def told(ended: Ended) -> dict[str, Any]:
    (found,) = json.loads(ended.out)["spaces"]
    return dict(found)


def extents(run: LoadRun, topic: str) -> list[tuple[int, int]]:
    """Where each partition begins and ends."""
    reader = Consumer({"bootstrap.servers": run.bootstrap, "group.id": "extents", "log_level": 0})
    try:
        return [
            reader.get_watermark_offsets(TopicPartition(topic, number), timeout=15)
            for number in range(run.space.partitions)
        ]
    finally:
        reader.close()


def cut(run: LoadRun) -> None:
    """All that the state topic has is lost, as in a failover to a replica that had less."""
    name, admin = SpaceTopics(run.space.name).state, admin_of(run.bootstrap)
    _set(run, name, "compact,delete")  # of a topic that is compacted alone nothing can be deleted by hand
    ends = [TopicPartition(name, number, end) for number, (_, end) in enumerate(extents(run, name))]
    for future in admin.delete_records(ends).values():
        future.result(15)
    _set(run, name, "compact")


def _set(run: LoadRun, topic: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin_of(run.bootstrap).incremental_alter_configs([resource]).values():
        future.result(15)


def killed(shell: Shell, folder: Path, when: Callable[[], bool], what: str) -> None:
    """The command is ended by SIGKILL at some moment."""
    log = folder / "torn.log"
    torn = shell.start("replay", *APP, "--to-generation", "2", "--yes", log=log)
    try:
        until(when, what, 120, log.read_text)
    finally:
        torn.send_signal(signal.SIGKILL)
        torn.wait()


def shown(edge: EdgeProcess) -> dict[str, int]:
    page = edge.client().get(f"/v1/documents/Item/{PLACE}").json()["documents"]
    return {each["value"]["item"]: each["value"]["hits"] for each in page}


def in_step(shell: Shell, edge: EdgeProcess) -> None:
    ended = shell.run("verify", "--url", edge.url, "--json", edge_token_file=str(edge.replica / "token"))
    assert ended.code == 0, (ended, edge.tail())
    assert {line["verdict"] for line in json.loads(ended.out)} == {"same"}, ended


def test_a_damaged_read_model_is_made_once_more_and_everybody_goes_over_to_it(
    run: LoadRun, shell: Shell, tmp_path: Path
) -> None:
    first, second = SpaceTopics(run.space.name), SpaceTopics(run.space.name, 2)
    admin = TopicsAdmin(run.bootstrap)
    group = Group(run.bootstrap, second.group, second.ops, run.space.partitions)
    hits = dict.fromkeys(ITEMS, 1)
    with run.worker("only") as worker, run.edge(0, PLACE) as north:
        for item in ITEMS:
            north.do("hit", place=PLACE, item=item)
        north.do("name", place=PLACE, item=ITEMS[0], label="before", wait="merged")
        with run.feeder(300, records_per_second=300):
            pass
        run.group.await_drained(90)
        cut(run)

        with run.edge(1, PLACE) as south:  # it has read what is left
            until(lambda: south.status()["connection"] == "ONLINE", "it is there", 60, south.tail)
            assert shown(south) == {}

            wrong = to(shell, 5)
            wrong.assert_failed(1, "the next one is 2")
            meant = to(shell, 2)
            assert meant.code == 1 and "nothing was changed" in meant.err, meant
            assert told(meant)["differing"] > len(ITEMS) and not told(meant)["in_force"]
            assert second.state not in admin.partition_counts()

            killed(shell, tmp_path, lambda: second.state in admin.partition_counts(), "its topics are there")
            north.do("hit", place=PLACE, item=ITEMS[1], wait="merged")  # nothing of it is in force
            hits[ITEMS[1]] += 1
            south.go_offline(True)
            south.do("hit", place=PLACE, item=ITEMS[3])
            hits[ITEMS[3]] += 1

            killed(
                shell, tmp_path, lambda: "put generation 2 of" in worker.log.read_text(), "the workers are sent over"
            )
            elsewhere = to(shell, 3)
            elsewhere.assert_failed(1, "from generation 1 to 2 is not finished")
            looked = shell.run("doctor", *APP, "--json")
            found = [one for one in json.loads(looked.out) if one["what"] == f"space {run.space.name}"]
            assert len(found) == 1 and "is not finished" in found[0]["fact"], looked
            done = to(shell, 2)
            assert done.code == 0, (done, worker.tail())
            assert told(done)["in_force"] and not told(done)["made"], "it goes on where it was cut off"
            south.go_offline(False)
            before = extents(run, first.state)
            for edge in (north, south):
                until(lambda edge=edge: shown(edge) == hits, "it shows all", 90, edge.tail)  # type: ignore[misc]
            south.do("hit", place=PLACE, item=ITEMS[2], wait="merged")
            hits[ITEMS[2]] += 1
            for edge in (north, south):
                until(lambda edge=edge: shown(edge) == hits, "it shows what came since", 90, edge.tail)  # type: ignore[misc]
                in_step(shell, edge)
                edge.await_quiet()
            assert north.read(PLACE, ITEMS[0])["value"]["label"] == "before"
            assert extents(run, first.state) == before, "nobody merges the generation of before"
            group.await_drained(90, explain=worker.tail)

            checked = shell.run("replay", *APP, "--diff", "--json")
            checked.assert_done()
            assert told(checked)["differing"] == told(checked)["changed"] == 0
            assert told(to(shell, 2))["in_force"], "once more is nothing to do"
            shell.run("topics", "plan", *APP, "--json").assert_done()
            to(shell, 1).assert_failed(1, "was in force before")
    group.close()
