"""`driftlog conflicts` from the conflict to its end: two agents, a worker, and a person who decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from driftlog.testing.servers import RunningBroker
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

APP = ("--app", "tests.load.app:app")


def test_a_conflict_is_listed_shown_and_resolved(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker()
    shell = beside(run)
    with run.worker("only") as worker, run.edge(0, "hall") as north, run.edge(1, "hall") as south:
        for edge, label in ((north, "by north"), (south, "by south")):
            edge.go_offline(True)
            edge.do("name", place="hall", item="clock", label=label)
        for edge in (north, south):
            edge.go_offline(False)

        def open_ones() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = shell.run("conflicts", "list", *APP, "--json").data
            return found

        until(lambda: len(open_ones()) == 1, "the conflict is published", 60, worker.tail)
        (conflict,) = open_ones()
        assert (conflict["collection"], conflict["scope"], conflict["document"]) == ("Item", "hall", "clock")
        assert (conflict["field"], conflict["status"]) == ("label", "recorded")
        assert {version["value"] for version in conflict["versions"]} == {"by north", "by south"}
        assert all(version["command_id"] and version["logged"] for version in conflict["versions"])
        listed = shell.run("conflicts", "list", *APP)
        listed.assert_done()
        assert conflict["id"] in listed.out

        assert shell.run("conflicts", "show", conflict["id"][:6], *APP, "--json").data == conflict
        shell.run("conflicts", "show", "nothing", *APP).assert_one_line(1, "there is no conflict 'nothing'")
        shell.run("conflicts", "show", "", *APP).assert_done()

        until(lambda: len(north.conflicts()) == 1, "north knows the conflict", 60, north.tail)
        words = ("conflicts", "resolve", conflict["id"], "--edge", north.url)
        wrong = shell.run(*words, "--set", "no_such_field=1")
        assert (wrong.code, len(wrong.err.splitlines())) == (1, 1) and "label: " in wrong.err, wrong
        decided = shell.run(*words, "--set", "label=12.50", "--json").data
        assert decided["command_id"]

        until(lambda: open_ones() == [], "the conflict is resolved", 60, worker.tail)
        (resolved,) = shell.run("conflicts", "list", *APP, "--all", "--json").data
        assert (resolved["id"], resolved["status"]) == (conflict["id"], "resolved")
        assert (resolved["decided_by"]["value"], resolved["decided_by"]["command_id"]) == (
            "12.50",
            decided["command_id"],
        )
        assert (resolved["versions"], resolved["opened"]) == (conflict["versions"], conflict["opened"])
        until(
            lambda: south.read("hall", "clock")["value"]["label"] == "12.50", "south has the decision", 60, south.tail
        )
        again = shell.run(*words, "--accept")
        assert (again.code, len(again.err.splitlines())) == (1, 1), again

        explained = shell.run("explain", "Item", "hall", "clock", *APP, "--json").data
        assert explained["value"]["label"] == "12.50"
        first, second, last = explained["history"]
        assert {first["changes"][0]["value"], second["changes"][0]["value"]} == {"by north", "by south"}
        assert (first["had_not_seen"], second["had_not_seen"]) == ({}, {first["device"]: 1})
        assert (last["command_id"], last["had_not_seen"]) == (decided["command_id"], {})
        assert [step["outcome"] for step in explained["history"]] == ["accepted"] * 3
        assert [step["changes"][0]["now"] for step in explained["history"]] == [None, None, "stands"]
        page = shell.run("explain", "Item", "hall", "clock", *APP)
        page.assert_done()
        assert "12.50" in page.out
        shell.run("explain", "Item", "hall", "nothing", *APP).assert_one_line(1, "nothing in the log changes")


def test_noise_in_the_topic_does_not_hide_a_conflict(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell], broker: RunningBroker
) -> None:
    from confluent_kafka import Producer

    from driftlog_schemas import topics
    from driftlog_schemas.record_codecs import RecordCodecs
    from tests.unit.schemas.specimens import CONFLICT

    run = on_broker()
    shell = beside(run)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    topic = topics.conflicts_topic(run.space.name)
    for key, value in (
        (b"noise", b"no Avro at all"),
        (b"unknown", b"\x00\x7f\xff\xff\xf0more"),
        (CONFLICT.id.encode(), RecordCodecs(run.ids).encode_conflict(CONFLICT)),
        (b"torn", RecordCodecs(run.ids).encode_conflict(CONFLICT)[:-3]),
    ):
        producer.produce(topic, value, key, 0)
    assert producer.flush(30) == 0
    ended = shell.run("conflicts", "list", *APP, "--all", "--json")
    (found,) = ended.data
    assert found["id"] == CONFLICT.id
    assert found["versions"][1]["value"] == CONFLICT.versions[1].value
