"""`driftlog conflicts rules` from a real outage: what people always picked is proposed as a rule, and tried on what they decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

APP = ("--app", "tests.load.deadlines:app")  # nothing settles by itself: these workers have no identity of the cloud's
FIELD = ("--collection", "Item", "--field", "label")
DECISIONS = 10


def test_what_people_always_picked_is_proposed_and_tried(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker()
    run.place = replace(run.place, app="tests.load.deadlines:app")
    shell = beside(run)
    with run.worker("only") as worker, run.edge(0, "hall") as north, run.edge(1, "hall") as south:
        for edge, label in ((north, "by north"), (south, "by south")):
            edge.go_offline(True)
            for number in range(DECISIONS):
                edge.do("name", place="hall", item=f"clock-{number}", label=label)
        for edge in (north, south):
            edge.go_offline(False)
        until(lambda: len(north.conflicts()) == DECISIONS, "north knows the conflicts", 90, worker.tail)
        assert shell.run("conflicts", "rules", *APP, "--json").data == [], "nobody has decided"
        with north.client() as person:
            for one in north.conflicts():
                answer = person.post(f"/v1/conflicts/{one['id']}/resolve", json={"accept": True})
                assert answer.status_code < 300, answer.text
        until(lambda: not south.conflicts(), "all are decided", 90, worker.tail)

        def proposed() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = shell.run("conflicts", "rules", *APP, "--json").data
            return found

        until(lambda: [one["decisions"] for one in proposed()] == [DECISIONS], "the decisions are read", 60)
        (found,) = proposed()
        assert (found["collection"], found["field"]) == ("Item", "label")
        assert (found["proposal"]["rule"], found["proposal"]["agreeing"]) == ("standing", DECISIONS)
        tried = shell.run("conflicts", "rules", *APP, *FIELD, "--rule", "standing", "--json").data
        assert (len(tried["judged"]), tried["exceptions"]) == (DECISIONS, [])
        table = shell.run("conflicts", "rules", *APP, *FIELD, "--rule", "standing")
        table.assert_done()
        assert "clock-3" in table.out
        assert worker.stop() == 0
