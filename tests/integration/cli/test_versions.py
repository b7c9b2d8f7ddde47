"""Versions of an app side by side on a real broker: a device goes back and forth and loses nothing; one that is not supported any more waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OLDER, NEWER, STRICT = (f"tests.load.versions:{name}" for name in ("older", "newer", "strict"))
LATER = "from driftlog import App\napp = App('load', version='2.0', oldest_supported={'2.0': '2026-01-01'})\n"
"""As an operator asks by it; what it declares besides does not matter for that."""
PLACE, ITEM = "market", "tea"
PATIENCE = 180.0


class Device:
    """One device whose app is changed over the one folder."""

    def __init__(self, run: LoadRun, number: int) -> None:
        self._run, self._number = run, number
        self.edge: EdgeProcess | None = None

    def runs(self, app: str) -> EdgeProcess:
        """Another version from now on."""
        self.close()
        self.edge = EdgeProcess(replace(self._run.place, app=app), self._run.edges[self._number], [PLACE])
        return self.edge.start()

    def close(self) -> None:
        if self.edge is not None:
            self.edge.close()  # as a power cut would


def says(edge: EdgeProcess, **fields: Any) -> None:
    """Wait until nothing of it is pending and a document has these values here."""
    edge.await_quiet(PATIENCE)
    until(lambda: (edge.find(PLACE, ITEM) or {}).items() >= fields.items(), f"{fields}", PATIENCE, edge.tail)


def test_a_device_goes_back_and_forth_and_one_that_is_too_old_waits(
    shell: Shell, on_broker: Callable[..., LoadRun]
) -> None:
    run = on_broker(partitions=1)
    (shell.folder / "later.py").write_text(LATER)
    with ExitStack() as ends:

        def worker(app: str) -> WorkerProcess:
            return ends.enter_context(WorkerProcess(replace(run.place, app=app), "only"))

        device = Device(run, 0)
        ends.callback(device.close)
        merging = worker(NEWER)
        edge = device.runs(NEWER)
        edge.do("tag", place=PLACE, item=ITEM, value="online")
        says(edge, tags=["online"])
        edge.go_offline(True)
        edge.do("tag", place=PLACE, item=ITEM, value="offline")
        edge.do("hit", place=PLACE, item=ITEM)

        edge = device.runs(OLDER)  # with what it does not know in its outbox
        edge.do("hit", place=PLACE, item=ITEM)
        assert "tags" not in edge.read(PLACE, ITEM)["value"]
        edge.go_offline(False)
        says(edge, hits=2)
        edge.do("hit", place=PLACE, item=ITEM)
        says(edge, hits=3)

        merging.stop()
        merging = worker(STRICT)
        edge.do("hit", key="refused", place=PLACE, item=ITEM)
        until(
            lambda: edge.command("refused")["code"] == "version_unsupported",
            "the older version is refused",
            PATIENCE,
            edge.tail,
        )
        assert edge.command("refused")["status"] in ("pending", "shipped"), "it waits, and is tried again now and then"
        until(lambda: edge.status()["support"]["needs"] == "2.0", "the device is told", PATIENCE, edge.tail)
        assert "support for version 1.9 ended on 2026-01-01" in edge.status()["support"]["warning"]
        assert edge.read(PLACE, ITEM)["value"]["hits"] == 4, "what it wrote is seen here"
        name = edge.device.device_id
        until(lambda: supported(shell, name) == ("1.9", "ended"), "the fleet tells of it", PATIENCE, edge.tail)
        until(lambda: warned(merging) == ("1.9", 1, "2.0"), "the worker knows of it", PATIENCE, merging.tail)

        edge = device.runs(NEWER)
        says(edge, hits=4, tags=["offline", "online"])
        until(lambda: edge.command("refused")["status"] == "merged", "it is merged", PATIENCE, edge.tail)
        until(lambda: well(edge.status()), "nothing is wrong any more", PATIENCE, edge.tail)
        until(lambda: supported(shell, name) == ("2.0", "supported"), "the fleet tells of it", PATIENCE, edge.tail)

        reading = Device(run, 1)
        ends.callback(reading.close)
        reader = reading.runs(OLDER)
        until(lambda: reader.status()["support"]["needs"] == "2.0", "who only reads is told", PATIENCE, reader.tail)
    ended = shell.run("fleet", "versions", "--app", "later:app")
    assert ended.code == 0 and "support" in ended.out, ended


def well(status: dict[str, Any]) -> bool:
    support = status["support"]
    return (support["needs"], support["warning"], status["problem"]) == (None, "", "")


def warned(worker: WorkerProcess) -> tuple[str, int, str] | None:
    """What a worker's log has last said of the fleet: the version, how many devices run it, and which is needed."""
    told = [line for line in worker.log.read_text().splitlines() if "loses support" in line]
    lines = [json.loads(line[line.index("{") :]) for line in told]  # what ran before may have left its cursor's codes
    return (lines[-1]["version"], lines[-1]["devices"], lines[-1]["needs"]) if lines else None


def supported(shell: Shell, device: str) -> tuple[str, str] | None:
    """Version and state of support of a device's app, as the fleet's list has it."""
    lines = shell.run("fleet", "versions", "--app", "later:app", "--json").data
    found = [line for line in lines if line["component"] == "app load" and device in line["devices"]]
    return (found[0]["version"], found[0]["support"]["state"]) if found else None
