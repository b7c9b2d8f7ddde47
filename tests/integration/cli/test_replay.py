"""`driftlog replay` on a real broker: what ran is rebuilt byte for byte, what somebody else wrote shows, another app is tried dry, and a cut log is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from driftlog_schemas import groups, topics
from driftlog_schemas.partitioning import partition_of
from tests.integration.cli.shell import Ended, Shell
from tests.integration.conftest import LoadRun
from tests.load.checker import latest_by_key
from tests.load.stricter import FORBIDDEN
from tests.load.waiting import until

pytestmark = pytest.mark.broker

APP, STRICTER = ("--app", "tests.load.app:app"), ("--app", "tests.load.stricter:app")
OPS = 2_000


def report(ended: Ended) -> dict[str, Any]:
    (found,) = json.loads(ended.out)["spaces"]
    return dict(found)


def test_the_read_model_is_rebuilt_compared_and_tried_with_another_app(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell], tmp_path: Path
) -> None:
    run = on_broker()
    shell = beside(run)
    with run.worker("only") as worker, run.edge(0, "hall") as north, run.edge(1, "hall") as south:
        with run.feeder(OPS, records_per_second=200):
            pass  # it ends when all of them are delivered
        north.do("name", place="hall", item="clock", label="by north", wait="merged")
        south.go_offline(True)
        south.do("name", place="hall", item="clock", label="by south")
        north.do("name", place="hall", item="clock", label=FORBIDDEN, wait="merged")
        south.go_offline(False)
        until(lambda: len(north.conflicts()) == 1, "they compete", 60, worker.tail)
        run.group.await_drained(90)

        whole = shell.run("replay", *APP, "--diff", "--json")
        whole.assert_done()
        found = report(whole)
        assert (found["differing"], found["changed"], found["not_remembered"]) == (0, 0, 0)
        assert found["ops"] == OPS + 3
        before = shape(run)

        dry = shell.run("replay", *STRICTER, "--diff", "--json")
        assert dry.code == 1 and "would come out otherwise: 1 documents and 1 commands" in dry.err, dry
        (changed,) = report(dry)["changes"]
        assert (changed["command"], changed["runs"]["verdict"], changed["rebuilt"]["code"]) == (
            "name",
            "accepted",
            "no_such_name",
        )
        (document,) = report(dry)["differences"]
        assert (document["scope"], document["document"]) == ("hall", "clock")
        assert FORBIDDEN in json.dumps(document["fields"]) or "merge memory" in document["fields"]
        assert shape(run) == before, "nothing is written anywhere"

        partition = partition_of("hall", run.space.partitions)
        out = tmp_path / "then.jsonl"
        then = shell.run("replay", *APP, "--until", "0", "--out", str(out), "--json")
        then.assert_done()
        assert report(then)["merged_to"][str(partition)] == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert lines and all(line["collection"] == "Item" for line in lines)
        shell.run("replay", *APP, "--until", "soon").assert_one_line(2, "--until soon")
        shell.run("replay", *APP, "--space", "other").assert_one_line(2, "--space other")
        declared = run.space.partitions + 1
        for words in ((), ("--to-generation", "2", "--yes")):
            refused = shell.run("replay", *APP, *words, load_partitions=str(declared))
            refused.assert_one_line(1, f"{run.space.partitions} partitions, the app declares {declared}")
        assert shape(run) == before, "nothing is put in force by another count"
        assert worker.stop() == 0

    latest = latest_by_key(run.history().state)
    key, record = next((k, r) for k, r in sorted(latest.items()) if k == b"Item/hall/clock")
    number = groups.parse(record.headers).number
    producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    producer.produce(
        topics.state_topic(run.space.name), None, key, partition, headers=groups.headers(number, last=True)
    )
    assert producer.flush(30) == 0
    wrong = shell.run("replay", *APP, "--json")
    assert wrong.code == 1
    assert [(d["document"], d["what"]) for d in report(wrong)["differences"]] == [("clock", "missing")]
    shell.run("replay", *APP).assert_one_line(1, "1 documents and 0 commands")

    admin: Any = AdminClient({"bootstrap.servers": run.bootstrap, "log_level": 0})
    cut = admin.delete_records([TopicPartition(topics.ops_topic(run.space.name), partition, 1)])
    for future in cut.values():
        future.result(30)
    shell.run("replay", *APP).assert_one_line(1, "begins at offset 1")


def shape(run: LoadRun) -> list[int]:
    """How many records each topic of the space has."""
    history = run.history()
    return [len(history.ops), len(history.state), len(history.receipts), len(history.conflicts)]
