"""An agent before the topics of its app: it says which are not there, keeps what it is given, and goes on by itself once they are made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog.testing.servers import RunningBroker
from driftlog_schemas import topics
from tests.load.app import declare
from tests.load.edges import EdgeProcess
from tests.load.fleet import Fleet
from tests.load.ground import lay_topics
from tests.load.waiting import until
from tests.load.workers import WorkerPlace

pytestmark = pytest.mark.broker

LOOKS = 25
"""So many that the agent asks the broker several times meanwhile."""


def test_missing_topics_are_named_in_the_status_and_in_the_log(
    broker: RunningBroker, registry_url: str, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    name = fresh_name("missing").replace("-", "_")
    contract = declare(name, 1).contract
    place = WorkerPlace(broker.bootstrap, registry_url, tmp_path, name, partitions=1)
    with EdgeProcess(place, Fleet.of(name, 1, seed=3).members[0], ["market"]) as edge:
        edge.do("hit", place="market", item="tea")
        until(lambda: edge.status()["problem"], "it says what is wrong", 60, edge.tail)
        found = []
        for _ in range(LOOKS):
            time.sleep(0.5)
            found.append(edge.status()["problem"])
        wanted = {topics.state_topic(name), topics.ops_topic(name), topics.receipts_topic(name)}
        for problem in found:
            assert "driftlog topics apply" in problem and all(topic in problem for topic in wanted), found
        lines = [json.loads(line) for line in edge.log.read_text().splitlines() if line.startswith("{")]
        (said,) = [line for line in lines if line["event"] == "connection"]
        assert said["state"] == "OFFLINE" and topics.state_topic(name) in said["problem"]
        lay_topics(broker.bootstrap, contract)
        until(lambda: edge.status()["connection"] == "ONLINE", "the agent goes on by itself", 90, edge.tail)
        assert "topics are not there" not in edge.status()["problem"]
