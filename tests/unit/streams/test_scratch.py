"""Folders for what is thrown away: none outlives its command by more than the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftlog_streams.replaying.scratch import scratch

HOLD = """
from driftlog_streams.replaying.scratch import scratch
with scratch("trial") as folder:
    (folder / "states").write_text("kept")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another command, and its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        yield program, Path(program.stdout.readline().strip())
        program.kill()


def test_it_goes_at_the_end_also_by_an_exception(here: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch("trial") as folder:
        assert folder.parent == here and folder.is_dir()
        (folder / "states").write_text("kept")
        _ = 1 // 0
    assert not list(here.iterdir())


def test_what_a_killed_command_has_left_goes_with_the_next_one(here: Path) -> None:
    with holder() as (program, left):
        program.send_signal(signal.SIGKILL)
        program.wait(60)
    assert (left / "states").exists()
    with scratch("trial") as folder:
        assert list(here.iterdir()) == [folder]


def test_what_a_command_that_lives_has_and_what_is_of_another_kind_stays(here: Path) -> None:
    (here / "driftlog-other-1").mkdir()
    with holder() as (_, beside):
        with scratch("trial") as folder:
            assert (beside / "states").exists() and folder != beside
        assert (beside / "states").exists()
    assert (here / "driftlog-other-1").exists()


def test_what_a_link_leads_to_stays(here: Path) -> None:
    (here / "of-somebody").mkdir()
    (here / "driftlog-trial-1").symlink_to(here / "of-somebody")
    with scratch("trial"):
        assert (here / "of-somebody").exists()
