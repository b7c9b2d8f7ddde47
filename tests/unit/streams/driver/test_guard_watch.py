"""A guard that does not end is ended, whatever it catches; one that ends in time is left alone."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from driftlog_crdt import DocumentState
from driftlog_streams.core.decision import Decider
from driftlog_streams.errors import Exit
from driftlog_streams.faust_driver import guard_watch
from driftlog_streams.faust_driver.guard_watch import LIMIT_SECONDS, GuardOverrun, GuardWatch
from tests.unit.streams.cloud import Cloud, change, command, count, stock


def endless() -> None:
    while True:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001, S110  # as an app may write it
            pass


def test_a_guard_that_does_not_end_is_interrupted_even_where_it_catches_everything(tmp_path: Path) -> None:
    with pytest.raises(GuardOverrun, match="forever"), GuardWatch(tmp_path, 0.05)("forever", "c1"):
        endless()


def test_an_interrupt_that_comes_while_the_first_is_dealt_with_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = guard_watch._Timer._deal
    counted: list[int] = []

    def slowly(timer: guard_watch._Timer, frame: FrameType | None) -> None:
        if not counted:
            for _ in range(2 * guard_watch.INTERRUPTS):
                signal.raise_signal(signal.SIGALRM)
            counted.append(timer._interrupted)
        deal(timer, frame)

    monkeypatch.setattr(guard_watch._Timer, "_deal", slowly)
    with pytest.raises(GuardOverrun, match="forever"), GuardWatch(tmp_path, 0.05)("forever", "c1"):
        endless()
    assert counted == [0], "the others neither raise nor count"


def test_one_that_ends_in_time_leaves_nothing_behind(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with GuardWatch(tmp_path)("quick", "c1"):
        pass
    assert signal.getsignal(signal.SIGALRM) is before


def test_its_command_is_quarantined_and_the_queue_goes_on(cloud: Cloud, tmp_path: Path) -> None:
    def check(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
        if "forever" in repr(after.fields.get("name")):
            endless()

    collection = cloud.rules.collections["Stock"]
    guard = dataclasses.replace(collection.guards[0], check=check)
    cloud.rules.collections["Stock"] = collection._replace(guards=(guard,))
    merger = cloud.new_life()
    watch = GuardWatch(tmp_path, 0.05)
    merger._net._decider = Decider(cloud.rules, merger._at.cache, merger._at.memory, watch)
    cloud.merge(command("bad", change(stock(), "name", "set", "forever", 1)))
    watch._limit = LIMIT_SECONDS  # a good guard is not to hang on how busy this machine is
    cloud.merge(command("good", count(stock("milk"), 1, 1)))
    assert cloud.verdicts() == {"bad": "deferred quarantined", "good": "accepted"}
    assert [q.code for q in cloud.quarantined()] == ["unforeseen_command"]


STUBBORN = """
import sys
from pathlib import Path
from driftlog_streams.faust_driver import guard_watch
from driftlog_streams.faust_driver.guard_watch import GuardWatch
watch = GuardWatch(Path(sys.argv[1]), 0.05)
with watch("stubborn", "store-1.1/1/bad"):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""


def test_one_that_swallows_every_interrupt_ends_the_process_which_says_why_and_is_not_asked_again(
    cloud: Cloud, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STUBBORN, str(tmp_path)], capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == Exit.LAW
    assert b"stubborn" in ended.stdout + ended.stderr and b"store-1.1/1/bad" in ended.stdout + ended.stderr

    asked: list[str] = []
    collection = cloud.rules.collections["Stock"]
    guard = dataclasses.replace(
        collection.guards[0], name="stubborn", check=lambda scope, id, before, after: asked.append(id)
    )
    cloud.rules.collections["Stock"] = collection._replace(guards=(guard,))
    merger = cloud.new_life()
    merger._net._decider = Decider(cloud.rules, merger._at.cache, merger._at.memory, GuardWatch(tmp_path))
    cloud.merge(command("bad", count(stock("tea"), 1, 1)))
    cloud.merge(command("good", count(stock("milk"), 1, 1)))
    assert cloud.verdicts() == {"bad": "deferred quarantined", "good": "accepted"}
    assert "tea" not in asked and "milk" in asked
