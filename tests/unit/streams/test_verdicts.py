"""What became of each command is counted once, however often a replay is cut off; and the same commands are listed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_schemas.identity import CLOUD_REPLICA
from driftlog_schemas.messages import Forgetting, Verdict
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying import rebuild
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.replay import PartitionReport, Replay
from driftlog_streams.replaying.verdicts import Verdicts
from tests.unit.streams.cloud import IDS, PARTITION, SPACE, command, count, stock
from tests.unit.streams.test_kept import Cut, Topics
from tests.unit.streams.test_replaying import OTHER, Log, log

__all__ = ["log"]

RECORDS = 17
LISTED = 2


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", 2)


@pytest.fixture
def topics(log: Log) -> Topics:
    """Also refusals, one that waits long, one that waits at the end, and one that was given up and keeps its place."""
    cloud, read = log.cloud, len(log.ops) - 1
    log.append(cloud.batch(command("waits", count(stock("milk"), 3, 2)), read=read))
    for number in range(3):
        log.append(cloud.batch(command(f"never {number}", count(stock("beer"), -5, 1 + number)), read=read))
    log.append(cloud.batch(command("comes", count(stock("milk"), 5, 1)), read=read))
    log.append(cloud.batch(command("given up", count(stock("eggs"), 1, 2, OTHER)), replica=OTHER, read=read))
    word = Forgetting(-1, drop=(f"{OTHER}/3/given up",))
    log.append(cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=word))
    log.append(cloud.batch(command("still waits", count(stock("bread"), 3, 2)), read=read))
    log.append(cloud.batch(command("last", count(stock("tea"), 1, 4)), read=read))
    assert len(log.ops) == RECORDS
    return Topics(log)


def replay(topics: Topics, folder: Path, rules: SpaceRules) -> PartitionReport:
    with closing(WorkerStore(folder / "rebuilt")) as rebuilt, closing(WorkerStore(folder / "beside")) as beside:
        made = Replay(rules, topics.log.cloud.devices, topics, beside, LISTED, rebuilt)  # type: ignore[arg-type]
        return made.replay(PARTITION, None, lambda *_: None, compare=True, verdicts=True)


def without_guards() -> SpaceRules:
    """Another app, which refuses nothing."""
    return SpaceRules(replace(SPACE, guards={}), IDS)


def test_by_its_own_rules_nothing_comes_out_otherwise(topics: Topics, tmp_path: Path) -> None:
    found = replay(topics, tmp_path, topics.log.cloud.rules)
    assert (found.commands, found.unknown, found.changed, found.changes) == (14, 0, 0, [])
    assert found.differing == 0


@pytest.mark.parametrize("cut_at", [(at,) for at in range(1, RECORDS)] + [(3, 4, 9), (5, 11, 16), (2, 8, 15)])
def test_a_dry_run_that_is_cut_off_reads_only_the_rest_and_reports_the_same(
    topics: Topics, tmp_path: Path, cut_at: tuple[int, ...]
) -> None:
    uncut = replay(topics, tmp_path / "uncut", without_guards())
    assert [one.command for one in uncut.changes] == ["too much", "never 0"] and uncut.changed == 4
    assert uncut.changes[0].before.code == "recount" and uncut.changes[0].after.verdict is Verdict.ACCEPTED
    kept_there = 0
    for at in cut_at:
        topics.cut_at = at
        with pytest.raises(Cut):
            replay(topics, tmp_path / "cut", without_guards())
        kept_there += max(0, (at - kept_there - 1) // 2 * 2)
    topics.read, topics.cut_at = [], None
    done = replay(topics, tmp_path / "cut", without_guards())
    assert topics.read == [*range(kept_there, RECORDS)]
    assert replace_read(done, uncut) == uncut
    assert replace_read(replay(topics, tmp_path / "cut", without_guards()), uncut) == uncut, "after its end as well"


def replace_read(found: PartitionReport, other: PartitionReport) -> PartitionReport:
    """The same, had it read as much as the other."""
    assert found.before + found.records == other.before + other.records
    return replace(found, before=other.before, records=other.records, ops=other.ops)


@pytest.mark.parametrize("store", ["rebuilt", "counts", "parked"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_kill_between_the_writes_of_a_seal_counts_nothing_twice(
    topics: Topics, tmp_path: Path, store: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written of a seal is some prefix of its writes."""
    uncut = replay(topics, tmp_path / "uncut", without_guards())
    prefix = {"rebuilt": 0, "counts": 4, "parked": 3}[store] * topics.log.cloud.rules.partitions + PARTITION
    write, left = PartitionStore.write, [number]

    def cut(self: PartitionStore, *given: object, **named: object) -> None:
        if self._prefix == prefix.to_bytes(4, "big"):
            left[0] -= 1
            if not left[0]:
                raise Cut
        write(self, *given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(PartitionStore, "write", cut)
        replay(topics, tmp_path / "cut", without_guards())
    assert replace_read(replay(topics, tmp_path / "cut", without_guards()), uncut) == uncut


def test_what_is_told_twice_in_a_seal_is_counted_once(
    topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of which the app's code makes the merge fail is merged once more."""
    told = Verdicts.told

    def twice(self: Verdicts, *given: object) -> None:
        told(self, *given)  # type: ignore[arg-type]
        told(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Verdicts, "told", twice)
    assert replay(topics, tmp_path, topics.log.cloud.rules).commands == 14


def test_what_has_lost_its_counts_is_not_gone_on_with(topics: Topics, tmp_path: Path) -> None:
    with closing(WorkerStore(tmp_path / "rebuilt")) as stores:
        store = stores.partition(PARTITION)
        made = Rebuild(topics.log.cloud.rules, PARTITION, store, topics.log.cloud.devices)
        made.take(topics.log.ops[0])
        made.end()
    with pytest.raises(SetupProblem, match="nothing tells what became of its commands"):
        replay(topics, tmp_path, topics.log.cloud.rules)


def test_only_the_last_two_counts_are_kept(topics: Topics, tmp_path: Path) -> None:
    """Nothing that is collected grows with the log."""
    replay(topics, tmp_path, without_guards())
    with closing(WorkerStore(tmp_path / "rebuilt")) as stores:
        there = [key[:1] for key, _ in stores.partition(4 * SPACE.partitions + PARTITION).documents()]
    assert there == [b"\x01"] * 2 + [b"\x02"] * LISTED
