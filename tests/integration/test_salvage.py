"""A device's folder is damaged while some of its commands are merged, some are in the log and some were never sent: salvaged, each counts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.copies import ended
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.load.workers import CHECKOUT
from tests.unit.edge.damaged import Damage, flipped, manifest, missing, write_ahead_log

pytestmark = pytest.mark.broker

PLACE = "cellar"


def salvaged(edge: EdgeProcess) -> dict[str, Any]:
    """The command as an operator runs it; the new folder takes the old one's place."""
    new, old = edge.replica.with_name("new"), edge.replica.with_name("old")
    words = ["edge", "salvage", "--from", str(edge.replica), "--to", str(new), "--app", edge.app, "--json"]
    done = ended(words, CHECKOUT, edge.environment)
    assert done.returncode == 0, done.stderr
    edge.replica.rename(old)
    new.rename(edge.replica)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    "damage", [missing(manifest), pytest.param(flipped(write_ahead_log, 0.9), marks=pytest.mark.deep)]
)
def test_what_was_merged_sent_and_unsent_each_counts_once(on_broker: Callable[..., LoadRun], damage: Damage) -> None:
    run = on_broker()
    edge = run.edge(0, PLACE)
    with edge:
        with run.worker("first") as worker:
            for number in range(12):
                edge.do("hit", place=PLACE, item="tea", times=1, key=f"merged-{number}")
            edge.await_quiet()
            assert worker.stop() == 0
        for number in range(8):
            edge.do("hit", place=PLACE, item="tea", times=1, key=f"sent-{number}", wait="shipped")
        edge.go_offline(True)
        for number in range(10):
            edge.do("hit", place=PLACE, item="tea", times=1, key=f"unsent-{number}")
        edge.kill()
        damage(edge.replica)
        report = salvaged(edge)
        assert report["undecided"] + report["lost_count"] <= 18
        edge.start()
        edge.go_offline(False)
        with run.worker("second") as worker:
            edge.await_quiet()
            until(lambda: edge.find(PLACE, "tea"), "it is read again", 60, edge.tail)
            again = edge.do("hit", place=PLACE, item="tea", times=1, key="sent-0", wait="merged")
            assert again["status"] == "merged", "and has no second effect"
            hits = run.row(PLACE, "tea")["hits"]
            assert edge.read(PLACE, "tea")["value"]["hits"] == hits
            assert worker.stop() == 0
    unsent = report["undecided"] - 8
    assert hits == 12 + 8 + unsent, report
    found = run.judge(others=12 + 8 + unsent)
    assert found.good, found
