"""What people run over a space that was given another number of partitions: each command reads it where it is, and says who still needs the topics of before."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_schemas.moves import following_name
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_repartitioning import APP, BEFORE, findings, has_followed, move, run, shell
from tests.integration.conftest import LoadRun
from tests.load.console import ConsoleProcess
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]

PLACE, ITEM = "hall", "clock"


def open_conflicts(shell: Shell) -> list[dict[str, Any]]:
    """As the command lists them."""
    return list(shell.run("conflicts", "list", *APP, "--json").data)


def moves(shell: Shell, space: str) -> list[dict[str, Any]]:
    """What is said of the moves of a space that was called so before; the broker has those of others."""
    return [one for one in shell.run("fleet", "moves", "--json").data if one["topics"] == space]


def needed_by(shell: Shell, space: str) -> list[str]:
    """Devices that need the topics of before."""
    (moved,) = moves(shell, space)
    return [one["device_id"] for one in moved["needed_by"]]


def heard_of(shell: Shell) -> set[str]:
    """Devices that have said something of themselves."""
    return {line["device_id"] for line in shell.run("fleet", "list", "--json").data if line["heard"]}


def label(edge: EdgeProcess) -> object:
    value = edge.find(PLACE, ITEM)
    return value and value["label"]


def test_a_conflict_comes_along_and_who_has_not_followed_is_told(run: LoadRun, shell: Shell) -> None:
    old, new = run.space.name, following_name(run.space.name, 2)
    assert moves(shell, old) == []
    console = ConsoleProcess(run.place, run.edges[3], [PLACE])
    with run.worker("only") as worker, run.edge(0, PLACE) as north, run.edge(1, PLACE) as south, console:
        for edge, name in ((north, "by north"), (south, "by south")):
            edge.go_offline(True)
            edge.do("name", place=PLACE, item=ITEM, label=name)
        for edge in (north, south):
            edge.go_offline(False)
        until(lambda: len(open_conflicts(shell)) == 1, "the conflict is published", 120, worker.tail)
        for edge in (north, south):
            until(lambda edge=edge: len(edge.conflicts()) == 1, "both know of it", 120, edge.tail)  # type: ignore[misc]
            edge.await_quiet()
        (conflict,) = open_conflicts(shell)
        heard = {north.device.device_id, south.device.device_id}
        until(lambda: heard <= heard_of(shell), "both are heard of", 120, south.tail)
        assert south.stop() == 0
        shell.run(*move("--yes")).assert_done()
        until(lambda: has_followed(north), "it follows", 120, north.tail)
        north.await_quiet(120)
        assert console.ended() == 1 and "start the console again" in console.log.read_text(), console.tail()
        assert "Traceback" not in console.log.read_text(), console.tail()
        console.start()
        inbox = "/inbox?which=settled"
        until(lambda: f"Item {ITEM}" in console.page(inbox), "the conflict is in its inbox", 120, console.tail)

        until(
            lambda: needed_by(shell, old) == [south.device.device_id], "only who was away needs them", 120, north.tail
        )
        table = shell.run("fleet", "moves")
        assert table.code == 0 and south.device.device_id in table.out, table
        (note,) = [one for one in findings(shell) if one["what"] == f"topics {old}.*"]
        assert (
            note["level"] == "note"
            and f"have not followed the space to {new}" in note["fact"]
            and note["fact"].endswith(": 1")
        )
        assert open_conflicts(shell) == [conflict], "as it was"
        words = ("conflicts", "resolve", conflict["id"], "--edge", north.url)
        shell.run(*words, "--set", "label=by both", "--json").assert_done()
        until(lambda: open_conflicts(shell) == [], "it is resolved where the space goes on", 120, worker.tail)
        page = f"/documents/Item/{PLACE}/{ITEM}"
        until(lambda: "by both" in console.page(page), "the console has the decision", 120, console.tail)
        assert all(console.page(path) for path in ("/fleet", "/flow", f"/fleet/{north.device.device_id}"))
        assert shell.run("parked", "list", *APP, "--json").data == []
        shell.run("replay", *APP, "--diff", "--json").assert_failed(1, new)

        south.start()
        until(lambda: has_followed(south), "it follows when it is back", 120, south.tail)
        until(lambda: label(south) == "by both", "it knows the decision", 120, south.tail)
        until(lambda: needed_by(shell, old) == [], "nobody needs them", 120, south.tail)
        assert not [one for one in findings(shell) if one["what"] == f"topics {old}.*"]

        admin = TopicsAdmin(run.bootstrap)
        mine = [
            topic for topic in admin.partition_counts() if topic.startswith(f"{old}.") and not topic.startswith(new)
        ]
        admin.remove(mine)
        shell.run("topics", "apply", *APP, "--json").assert_done()
        assert admin.partition_counts()[topics.ops_topic(old)] == BEFORE, "empty, for who begins anew"
        with run.edge(2, PLACE) as late:
            late.do("hit", place=PLACE, item=ITEM)
            until(lambda: has_followed(late), "a new device follows", 120, late.tail)
            until(lambda: label(late) == "by both", "it has all", 120, late.tail)
            worker.kill()
            late.do("hit", place=PLACE, item=ITEM)
            for edge in (north, south, late):
                until(lambda edge=edge: (edge.find(PLACE, ITEM) or {}).get("hits") == 2, "all show it", 120, edge.tail)  # type: ignore[misc]
        assert [one for one in findings(shell) if one["level"] == "wrong" and old in one["what"]] == []
