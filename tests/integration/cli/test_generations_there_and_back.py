"""Generations are put in force there and back while agents sell and the tool is killed on its way: each sale counts once."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from driftlog_schemas.topics import SpaceTopics
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_generations import APP, in_step, run, shell, to, told
from tests.integration.conftest import LoadRun
from tests.integration.sales import Sales, require_known_everywhere, selling, sold
from tests.load.waiting import Group, until
from tests.load.workers import WorkerProcess

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]


class Way:
    """From one generation to another, with everybody at work."""

    def __init__(self, shell: Shell, worker: WorkerProcess, sales: list[Sales], log: Path) -> None:
        self._shell, self._worker, self._sales, self._log = shell, worker, sales, log

    def go(self, generation: int) -> None:
        """All the way; agents follow."""
        done = to(self._shell, generation, "--yes")
        assert done.code == 0 and told(done)["in_force"], (done, self._worker.tail())
        for one in self._sales:
            until(
                lambda: one.edge.status()["generations"][self.space]["followed"] == generation,  # noqa: B023
                f"it reads generation {generation}",
                90,
                one.edge.tail,
            )
            one.more()

    def begin(self, generation: int) -> None:
        """The tool is ended by SIGKILL as soon as the workers are sent over."""
        said, already = f"has put generation {generation} of", self._sent(generation)
        torn = self._shell.start("replay", *APP, "--to-generation", str(generation), "--yes", log=self._log)
        try:
            until(lambda: self._sent(generation) > already, said, 120, self._log.read_text)
        finally:
            torn.send_signal(signal.SIGKILL)
            torn.wait()
        for one in self._sales:
            one.more()

    def _sent(self, generation: int) -> int:
        return self._worker.log.read_text().count(f"has put generation {generation} of")

    @property
    def space(self) -> str:
        return self._sales[0].edge.environment["DRIFTLOG_LOAD_SPACE"]


def test_there_back_and_there_again_under_load(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    second = SpaceTopics(run.space.name, 2)
    group = Group(run.bootstrap, second.group, second.ops, run.space.partitions)
    with run.worker("only") as worker, selling(run) as sales:
        way = Way(shell, worker, sales, tmp_path / "torn.log")
        for one in sales:
            one.more()
        way.go(2)
        way.begin(1)  # and it is gone on with
        way.go(1)
        way.begin(2)  # and it is taken back
        way.go(1)
        way.go(2)
        counts = sold(sales)
        require_known_everywhere(sales, counts)
        for one in sales:
            in_step(shell, one.edge)
        group.await_drained(90, explain=worker.tail)
        group.close()
        checked = shell.run("replay", *APP, "--diff", "--json")
        assert checked.code == 0, checked
        warned = {json.loads(line)["event"].partition(":")[0] for line in checked.err.splitlines()}
        assert warned <= {"a device begins too many lives"}, (
            "with each generation that it follows while it sells it may begin one"
        )
        assert told(checked)["differing"] == told(checked)["changed"] == 0
        assert worker.stop() == 0
