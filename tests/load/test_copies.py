"""A copy is a program like one that Python starts anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.copies import Copies, Copy, alive, children, copies
from tests.load.waiting import until

HERE = "tests.load.test_copies"


def tells() -> None:
    """A program: where it is, what it was told, and an end of its own."""
    sys.stdout.write(
        f"{Path.cwd()} {sys.argv[1:]} {os.environ['TOLD']} {sys.stdin.read()!r} {os.environ.keys() - {'TOLD'}}"
    )
    sys.exit(7)


def breaks() -> None:
    raise ValueError("as it is")


def stays() -> None:
    """A program that ends by a signal only."""
    sys.stdout.write("here")
    sys.stdout.flush()
    while True:
        signal.pause()


def keeps() -> None:
    """A program with one of its own, after whom it ends."""
    of_its_own = Copies.of_this_process()
    kept = of_its_own.start(f"{HERE}:stays", [], Path.cwd(), os.environ, stdout=1, stderr=2)
    sys.exit(100 - kept.wait())


Started = Callable[..., Copy]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def start(tmp_path: Path, out: Path) -> Started:
    def started(entry: str, *words: str, **environment: str) -> Copy:
        with out.open("ab") as file:
            return copies().start(
                f"{HERE}:{entry}", words, tmp_path, environment, stdout=file.fileno(), stderr=file.fileno()
            )

    return started


def test_it_has_its_own_surroundings_and_end(start: Started, tmp_path: Path, out: Path) -> None:
    before = dict(os.environ)
    assert start("tells", "some", "words", TOLD="it").wait(60) == 7
    assert out.read_text() == f"{tmp_path} ['some', 'words'] it '' set()"
    assert dict(os.environ) == before


def test_what_fails_is_told_as_by_python(start: Started, out: Path) -> None:
    assert start("breaks").wait(60) == 1
    assert out.read_text().splitlines()[-1] == "ValueError: as it is"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_only_it(start: Started, out: Path, number: signal.Signals) -> None:
    struck, other = start("stays"), start("stays")
    until(lambda: out.read_text() == "herehere", "both run", 60)
    assert struck.poll() is other.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        struck.wait(0)
    struck.send_signal(number)
    assert struck.wait(60) == struck.poll() == -number
    assert not alive(struck.pid) and alive(other.pid) and other.poll() is None
    assert {struck.pid, other.pid} & {*children(copies().pid)} == {other.pid}
    struck.kill()  # nobody any more, and nobody else
    other.kill()
    assert other.wait(60) == -signal.SIGKILL


def test_a_copy_has_copies_of_its_own(start: Started, out: Path) -> None:
    keeper = start("keeps")
    until(lambda: out.read_text() == "here", "what it keeps runs", 60)
    (kept,) = children(keeper.pid)
    assert kept not in children(copies().pid) and alive(kept)
    os.kill(kept, signal.SIGTERM)
    assert keeper.wait(60) == 100 + signal.SIGTERM
    assert not alive(kept)
