"""What a command builds for long outlives one that is cut off, and nothing else; and a replay goes on in it as if it had never been cut off."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from driftlog_schemas.devices import Device
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying import rebuild
from driftlog_streams.replaying.kept import kept
from driftlog_streams.replaying.made_by import made_by
from driftlog_streams.replaying.replay import PartitionReport, Replay, Until
from tests.unit.streams.cloud import PARTITION, change, command, count, stock
from tests.unit.streams.test_replaying import OTHER, Log, log

__all__ = ["log"]

BY = {"app": {"code": "1"}, "registry": {"till": "a"}}
HOLD = """
from driftlog_streams.replaying.kept import kept
with kept("trial", "retail", {"app": {"code": "1"}, "registry": {"till": "a"}}) as found:
    (found.folder / "states").write_text("of another command")
    print(found.folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def cut_off() -> Path:
    """A command is cut off; its folder."""
    with pytest.raises(ZeroDivisionError), kept("trial", "retail", BY) as found:
        (found.folder / "states").write_text("half")
        _ = 1 // 0
    return found.folder


def test_it_goes_when_the_command_comes_to_its_end(here: Path) -> None:
    with kept("trial", "retail", BY) as found:
        (found.folder / "states").mkdir()
    assert not list(here.iterdir())


def test_a_name_may_have_a_slash(here: Path) -> None:
    with kept("trial", "retail-7kh/Ouk9", BY) as found:
        assert found.folder == here / "driftlog-kept-trial-retail-7kh_Ouk9"


def test_the_same_command_goes_on_in_what_one_that_was_cut_off_has_left(here: Path) -> None:
    folder = cut_off()
    assert list(here.iterdir()) == [folder] and folder.stat().st_mode & 0o077 == 0
    with kept("trial", "retail", {**BY, "registry": {"till": "a", "new": "b"}}) as found:
        assert (found.folder / "states").read_text() == "half", "what has come to the registry is no harm"
        found.stays = True
    with kept("trial", "retail", {**BY, "registry": {"till": "a", "new": "b"}}) as found:
        assert (found.folder / "states").exists()


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({**BY, "app": {"code": "2"}}, ["app"]),
        ({**BY, "registry": {"till": "c"}}, ["registry"]),
        ({**BY, "registry": {}}, ["registry"]),
        ({**BY, "until": {"is": "7"}}, ["until"]),
        ({"app": BY["app"]}, ["registry"]),
    ],
)
def test_where_anything_is_another_thing_now_it_says_what_and_begins_anew(
    by: dict[str, dict[str, str]], said: list[str]
) -> None:
    cut_off()
    with capture_logs() as logs, kept("trial", "retail", by) as found:
        assert not (found.folder / "states").exists()
    assert [(one["log_level"], one["changed"]) for one in logs] == [("warning", said)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"app": 1}'])
def test_what_does_not_say_by_what_it_was_made_is_nothing(text: str) -> None:
    (cut_off() / "made-by.json").write_text(text)
    with kept("trial", "retail", BY) as found:
        assert not (found.folder / "states").exists()


def test_two_at_once_do_not_share_it_and_a_killed_one_leaves_it(here: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        theirs = Path(program.stdout.readline().strip())
        with kept("trial", "retail", BY) as found:
            assert found.folder != theirs
        assert (theirs / "states").exists() and not found.folder.exists()
        program.send_signal(signal.SIGKILL)
        program.wait(60)
    with kept("trial", "retail", BY) as found:
        assert (theirs / "states").read_text() == "of another command" and found.folder == theirs


def test_what_a_link_leads_to_is_not_touched(here: Path) -> None:
    (here / "of-somebody").mkdir()
    (here / "driftlog-kept-trial-retail").symlink_to(here / "of-somebody")
    with kept("trial", "retail", BY) as found:
        assert found.folder.parent == here
    assert (here / "of-somebody").exists()


def test_the_text_of_an_app_the_lines_and_the_rest_tell_by_what_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    app, rules = tmp_path / "kept_shop.py", tmp_path / "kept_shop_rules.py"
    app.write_text("import kept_shop_rules\n")
    rules.write_text("MOST = 1\n")
    __import__("kept_shop")

    def now(*devices: Device) -> dict[str, dict[str, str]]:
        return {what: dict(parts) for what, parts in made_by("kept_shop:app", devices, until="").items()}

    first = now()
    assert first == now()
    rules.write_text("MOST = 2\n")
    assert [what for what, parts in now().items() if parts != first[what]] == ["app"]
    app.write_text("")
    assert now()["app"] != first["app"]


class Cut(Exception):
    """The log ends in the middle."""


class Topics:
    """As `Logs`: what a replay has read, and where it is cut off."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.read: list[int] = []
        self.cut_at: int | None = None

    def extent(self, topic: str, partition: int) -> range:
        return range(len(self.log.ops))

    def blocks(self, topic: str, partition: int, start: int = 0) -> Iterator[list[ChangelogRecord]]:
        if topic != self.log.cloud.rules.topics.ops:
            yield self.log.published(topic)
            return
        for record in self.log.ops[start:]:
            if record.offset == self.cut_at:
                raise Cut
            self.read.append(record.offset)
            yield [record]


def replay(log: Log, topics: Topics, folder: Path, until: Until | None = None) -> PartitionReport:
    with closing(WorkerStore(folder / "rebuilt")) as rebuilt, closing(WorkerStore(folder / "beside")) as beside:
        made = Replay(log.cloud.rules, log.cloud.devices, topics, beside, 10, rebuilt)  # type: ignore[arg-type]
        return made.replay(PARTITION, until, lambda *_: None, compare=until is None, verdicts=False)


def whole(log: Log, folder: Path) -> tuple[dict[bytes, bytes], list[bytes]]:
    with closing(WorkerStore(folder / "rebuilt")) as stores:
        store = stores.partition(PARTITION)
        return dict(store.documents()), list(store.rows())


@pytest.mark.parametrize("cut_at", range(1, 14))
def test_a_replay_that_is_cut_off_reads_only_the_rest_and_is_the_same_byte_for_byte(
    log: Log, tmp_path: Path, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", 2)
    read = len(log.ops) - 1
    log.append(log.cloud.batch(command("waits", count(stock("milk"), 3, 2)), read=read))
    log.append(log.cloud.batch(command("one", change(stock("fought"), "price", "set", 1, 1)), read=read))
    rival = command("two", change(stock("fought"), "price", "set", 2, 1, replica=OTHER))
    log.append(log.cloud.batch(rival, replica=OTHER, read=read))
    log.append(log.cloud.batch(command("comes", count(stock("milk"), 5, 1)), read=read))
    log.append(log.cloud.batch(command("still waits", count(stock("cheese"), 3, 2)), read=read))
    log.append(log.cloud.batch(command("last", count(stock("bread"), 1, 1)), read=read))
    assert cut_at < len(log.ops) == 14
    topics = Topics(log)
    uncut = replay(log, topics, tmp_path / "uncut")
    assert topics.read == [*range(14)] and uncut.differing == 0

    topics.read, topics.cut_at = [], cut_at
    with pytest.raises(Cut):
        replay(log, topics, tmp_path / "cut")
    topics.read, topics.cut_at = [], None
    done = replay(log, topics, tmp_path / "cut")
    kept_there = max(0, (cut_at - 1) // 2 * 2)
    assert topics.read == [*range(kept_there, 14)]
    assert (done.before, done.records, done.merged_to, done.differing) == (kept_there, 14 - kept_there, 13, 0)
    assert whole(log, tmp_path / "cut") == whole(log, tmp_path / "uncut")


def test_what_goes_further_than_it_is_to_go_is_not_gone_on_with(log: Log, tmp_path: Path) -> None:
    replay(log, Topics(log), tmp_path)
    with pytest.raises(SetupProblem, match="an earlier attempt has rebuilt"):
        replay(log, Topics(log), tmp_path, Until(offset=3))
