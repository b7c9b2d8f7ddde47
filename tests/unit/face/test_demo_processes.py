"""What the demo starts ends with it, and so does what that has started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from driftlog.demo import processes
from driftlog.demo.processes import Child
from driftlog_infra.process import start_time
from driftlog_infra.warden import Warden
from tests.load.waiting import until

STUBBORN = """#!/bin/sh
trap "" TERM
sleep 600 &
echo $! > started
wait
"""


def test_a_process_that_does_not_stop_is_killed_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, started = tmp_path / "stubborn", tmp_path / "started"
    program.write_text(STUBBORN)
    program.chmod(0o755)
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    warden = Warden()
    with monkeypatch.context() as other:
        other.setattr(sys, "executable", str(program))
        child = Child("stubborn", [], tmp_path, tmp_path / "log", warden)
    until(lambda: started.exists() and started.read_text().strip() != "", "it has started another", 30, child.tail)
    other_pid = int(started.read_text())
    child.stop()
    until(lambda: start_time(other_pid) is None, "that one is gone", 10)
    warden.dismiss()
