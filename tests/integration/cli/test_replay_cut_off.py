"""A rebuild on a real broker is ended by SIGKILL in its middle: the same command reads only the rest, and what comes of it is the same byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftlog_schemas.topics import SpaceTopics
from tests.integration.cli.shell import Ended, Shell
from tests.integration.cli.test_generations import APP, PLACE, extents, run, shell, to, told
from tests.integration.conftest import LoadRun
from tests.load.stricter import FORBIDDEN

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OPS = 12_000
SEAL = "driftlog_streams.replaying.rebuild:Rebuild._seal"
"""500 op records are in the store."""
COUNTED = "driftlog_streams.replaying.verdicts:Verdicts.sealed"
"""What became of their commands is, and they are not."""
COMPARED = "driftlog_streams.replaying.replay:differences"
DRY_RUN = ("replay", "--app", "tests.load.stricter:app", "--diff", "--json")


def left(shell: Shell) -> list[str]:
    """What killed commands have left."""
    folder = shell.folder.with_name(f"{shell.folder.name}-temporary")
    return sorted(path.name for path in folder.glob("driftlog-kept-*"))


def replayed(ended: Ended) -> dict[str, Any]:
    assert ended.out, ended
    found = told(ended)
    return {name: found[name] for name in ("merged_before", "records", "differing", "merged_to")}


def test_the_same_command_reads_only_the_rest(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    with run.worker("only") as worker:
        with run.feeder(OPS, records_per_second=400):
            pass
        run.group.await_drained(120)
        there = sum(end for _, end in extents(run, SpaceTopics(run.space.name).ops))
        assert there > 1_500

        whole, rest = tmp_path / "whole.jsonl", tmp_path / "rest.jsonl"
        uncut = replayed(shell.run("replay", *APP, "--json", "--out", str(whole)))
        assert (uncut["merged_before"], uncut["records"], uncut["differing"]) == (0, there, 0)
        assert not left(shell)

        shell.killed(SEAL, "after", 2, "replay", *APP)
        assert len(left(shell)) == 1
        shell.killed(SEAL, "after", 1, "replay", *APP)
        done = shell.run("replay", *APP, "--json", "--out", str(rest))
        assert done.code == 0, done
        found = replayed(done)
        assert found["merged_before"] >= 1_000 and found["records"] == there - found["merged_before"]
        assert found == uncut | {"merged_before": found["merged_before"], "records": found["records"]}
        assert whole.read_bytes() == rest.read_bytes() and not left(shell)

        shell.killed(SEAL, "after", 2, "replay", *APP)
        other = shell.run("replay", *APP, "--until", "100000", "--json")
        assert replayed(other)["merged_before"] == 0 and "until" in other.err and "not gone on with" in other.err
        assert not left(shell)

        words = ("replay", *APP, "--to-generation", "2")
        shell.killed(SEAL, "after", 2, *words)
        reached = to(shell, 2)
        assert reached.code == 0, (reached, worker.tail())
        made = replayed(reached)
        assert made["merged_before"] == 1_000 and made["records"] == there - 1_000 and made["differing"] == 0
        assert told(reached)["in_force"] and told(reached)["made"] and not left(shell)
        (checked,) = shell.run("replay", *APP, "--diff", "--json").data["spaces"]
        assert (checked["generation"], checked["differing"], checked["changed"]) == (2, 0, 0)
        assert worker.stop() == 0


def test_a_dry_run_goes_on_with_what_it_has_counted(run: LoadRun, shell: Shell) -> None:
    with run.worker("only") as worker:
        with run.edge(0, PLACE) as north:
            north.do("name", place=PLACE, item="first", label=FORBIDDEN, wait="merged")
            with run.feeder(OPS, records_per_second=400):
                pass
            north.do("name", place=PLACE, item="last", label=FORBIDDEN, wait="merged")
        run.group.await_drained(120)
        assert worker.stop() == 0
    there = sum(end for _, end in extents(run, SpaceTopics(run.space.name).ops))
    assert there > 1_500

    uncut = shell.run(*DRY_RUN)
    assert [one["command"] for one in told(uncut)["changes"]] == ["name", "name"] and told(uncut)["differing"] == 2
    assert read(uncut) == (0, there) and not left(shell)

    for step, moment, number in ((SEAL, "after", 1), (COUNTED, "after", 1), (SEAL, "after", 1)):
        shell.killed(step, moment, number, *DRY_RUN)
    (kept,) = left(shell)
    assert kept.startswith("driftlog-kept-diff-")
    assert shell.run("replay", *APP).code == 0 and left(shell) == [kept], "another command has another folder"
    done = shell.run(*DRY_RUN)
    assert read(done) == (1_000, there - 1_000)
    assert report(done) == report(uncut) and done.err == uncut.err and not left(shell)

    shell.killed(COMPARED, "before", 2, *DRY_RUN)
    again = shell.run(*DRY_RUN)
    assert read(again) == (there, 0) and report(again) == report(uncut)

    shell.killed(SEAL, "after", 2, *DRY_RUN)
    other = shell.run(*DRY_RUN, "--limit", "1")
    assert "limit" in other.err and "not gone on with" in other.err
    assert read(other) == (0, there) and told(other)["changes"] == told(uncut)["changes"][:1]


def read(ended: Ended) -> tuple[int, int]:
    """Op records that attempts before have merged, and this one."""
    return told(ended)["merged_before"], told(ended)["records"]


def report(ended: Ended) -> str:
    """All that it says but how much of it this attempt has read."""
    return json.dumps({**told(ended), "merged_before": None, "records": None, "ops": None})
