"""The making of a generation is ended by SIGKILL at each of its steps while agents sell: the same command has it in force in the end, each sale once."""

from __future__ import annotations

import pytest

from driftlog_schemas.topics import SpaceTopics
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_generations import APP, in_step, run, shell, to, told
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE, require_known_everywhere, selling, sold
from tests.load.waiting import Group, until

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]

MAKING = "driftlog_streams.replaying.new_generation"
BEFORE_IT_IS_IN_FORCE = (
    (f"{MAKING}:Replay.replay", "after", 1),
    (f"{MAKING}:lay_topics", "after", 1),
    (f"{MAKING}:publish", "after", 1),
    (f"{MAKING}:require_written", "after", 2),
    (f"{MAKING}:Commits.begin", "after", 1),
)
"""In the middle of the rebuilding, its topics just made, one partition of two written, all of it written, and its group told where to begin."""


def test_cut_off_at_each_step_under_load_it_is_made_in_the_end(run: LoadRun, shell: Shell) -> None:
    second, admin = SpaceTopics(run.space.name, 2), TopicsAdmin(run.bootstrap)
    group = Group(run.bootstrap, second.group, second.ops, run.space.partitions)
    words = ("replay", *APP, "--to-generation", "2", "--yes")
    with run.worker("only") as worker, selling(run) as sales:
        with run.feeder(60, records_per_second=100):  # the other partition has something, too
            pass
        for one in sales:
            one.more()
        until(lambda: bool(run.rows(PLACE)), "something is merged", 120, worker.tail)
        for step, moment, number in BEFORE_IT_IS_IN_FORCE:
            shell.killed(step, moment, number, *words)
            for one in sales:
                one.more()
                one.edge.do("hit", place=PLACE, item="salt", wait="merged")
                assert one.edge.status()["generations"][run.space.name]["merged"] == 1, (step, moment)
        assert second.state in admin.partition_counts(), "what the last attempt has left"

        shell.killed(
            f"{MAKING}:follow_over", "after", 1, *words
        )  # the workers are there, and readers are not sent over
        done = to(shell, 2)
        assert done.code == 0, (done, worker.tail())
        assert told(done)["in_force"] and not told(done)["made"], "it goes on where it was cut off"
        counts = {**sold(sales), "salt": len(BEFORE_IT_IS_IN_FORCE) * len(sales)}
        require_known_everywhere(sales, counts)
        for one in sales:
            in_step(shell, one.edge)
        group.await_drained(90, explain=worker.tail)
        group.close()
        (checked,) = shell.run("replay", *APP, "--diff", "--json").data["spaces"]
        assert checked["differing"] == checked["changed"] == 0 and min(checked["merged_to"].values()) >= 0
        assert worker.stop() == 0
