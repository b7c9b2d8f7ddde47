"""A deadline of seconds on a real broker: it ends a conflict with nobody at work, an edge that was offline competes as before, and a person overrules it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driftlog_crdt import SETTLER
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.fleet import cloud, cloud_line
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

APP = ("--app", "tests.load.deadlines:app")


@pytest.fixture
def run(on_broker: Callable[..., LoadRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadRun:
    """A run whose workers have the cloud's identity."""
    made = on_broker()
    made.place = replace(made.place, app="tests.load.deadlines:app")
    enrol(made.bootstrap, [cloud_line()], made.ids)
    cloud().save(tmp_path / "cloud.json")
    monkeypatch.setenv("DRIFTLOG_CLOUD_IDENTITY", str(tmp_path / "cloud.json"))
    return made


def test_a_deadline_ends_a_conflict_and_a_person_may_overrule_it(
    run: LoadRun, beside: Callable[[LoadRun], Shell], tmp_path: Path
) -> None:
    shell = beside(run)

    def conflicts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shell.run("conflicts", "list", *APP, "--all", "--json").data
        return found

    with (
        run.worker("only") as worker,
        run.edge(0, "hall") as north,
        run.edge(1, "hall") as south,
        run.edge(2, "hall") as late,
    ):
        edges = (north, south, late)
        for edge, label in zip(edges, ("by north", "by south", "by the late one"), strict=True):
            edge.go_offline(True)
            edge.do("name", place="hall", item="clock", label=label)
        for edge in (north, south):
            edge.go_offline(False)

        until(lambda: [c["status"] for c in conflicts()] == ["settled"], "the deadline has passed", 90, worker.tail)
        (settled,) = conflicts()
        stands = settled["versions"][0]["value"]
        assert sorted(v["value"] for v in settled["versions"]) == ["by north", "by south"]
        assert (settled["decided_by"]["how"], settled["decided_by"]["replica"]) == ("deadline", SETTLER)
        assert settled["decided_by"]["value"] == stands
        assert settled["decided_by"]["logged"] >= settled["deadline"], "by the broker's time"
        for edge in (north, south):
            await_settled(edge, settled)
            assert edge.read("hall", "clock")["value"]["label"] == stands
            assert edge.conflicts() == []

        late.go_offline(False)
        until(
            lambda: SETTLER in {v["replica"] for c in conflicts() for v in c["versions"]},
            "who was offline competes with what was settled",
            60,
            worker.tail,
        )
        until(lambda: [c["status"] for c in conflicts()] == ["settled"], "it is settled as well", 90, worker.tail)
        (again,) = conflicts()
        assert {v["value"] for v in again["versions"]} == {stands, "by the late one"}
        until(lambda: len({e.read("hall", "clock")["value"]["label"] for e in edges}) == 1, "all show the same", 60)

        await_settled(north, again)
        words = ("--edge", north.url, "--set", "label=by hand", "--actor", "Zoë", "--reason", "it hangs in the hall")
        shell.run("conflicts", "resolve", again["id"], *words).assert_done()
        until(lambda: [c["status"] for c in conflicts()] == ["resolved"], "a person has decided", 60, worker.tail)
        by = conflicts()[0]["decided_by"]
        assert (by["actor"], by["how"], by["reason"]) == ("Zoë", "cli", "it hangs in the hall")
        assert (by["value"], by["replica"]) == ("by hand", north.status()["replica"])
        until(lambda: {e.read("hall", "clock")["value"]["label"] for e in edges} == {"by hand"}, "all have it", 60)
        assert worker.stop() == 0


def await_settled(edge: EdgeProcess, settled: dict[str, Any]) -> None:
    """Wait until the edge is told, and its document has the settlement: what became of a conflict is told before the state."""

    def there() -> bool:
        known = edge.conflicts(everything=True)
        version = edge.read("hall", "clock")["version"]
        return [c["status"] for c in known] == ["settled"] and version.get(SETTLER) == settled["decided_by"]["seq"]

    until(there, f"{edge.device.device_id} has it", 60, edge.tail)
