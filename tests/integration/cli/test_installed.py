"""What is not installed is told in one line, before anything is started; the version and the shell's completion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import driftlog
from driftlog.cli.extras import MODULES

BLOCKER = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def run(folder: Path, *words: str, without: Iterable[str] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """`driftlog` where the libraries of some extras cannot be imported."""
    missing = {module for extra in without for module in MODULES[extra]}
    (folder / "sitecustomize.py").write_text(BLOCKER.format(missing=missing))
    search = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "driftlog", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("worker", "--app", "shop:app"), "streams"),
        (("edge", "run", "--app", "shop:app"), "edge"),
        (("broker", "up", "--data", "servers", "--port", "0", "--registry-port", "0"), "broker"),
        (("demo",), "edge"),
        (("demo",), "streams"),
        (("demo",), "broker"),
        (("bench", "--list"), "edge"),
        (("bench", "--list"), "streams"),
        (("bench", "--list"), "broker"),
    ],
)
def test_a_missing_extra_is_one_line(tmp_path: Path, words: tuple[str, ...], extra: str) -> None:
    ended = run(tmp_path, *words, without=[extra])
    assert ended.returncode == 1, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "pip install" in line
    assert extra in line.rpartition("[")[2]


@pytest.mark.parametrize("group", ["topics", "schemas", "devices", "conflicts", "edge", "worker", "demo", "broker"])
def test_help_needs_no_extra(tmp_path: Path, group: str) -> None:
    ended = run(tmp_path, group, "--help", without=MODULES)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"driftlog {driftlog.__version__}\n"


@pytest.mark.parametrize(("typed", "found"), [("driftlog wor", "worker"), ("driftlog edge stat", "status")])
def test_a_shell_completes_commands(tmp_path: Path, typed: str, found: str) -> None:
    place = str(len(typed.split()) - 1)
    ended = run(tmp_path, _DRIFTLOG_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place)
    assert found in ended.stdout.split()


def test_a_worker_may_be_told_everything_by_its_environment(tmp_path: Path) -> None:
    ended = run(tmp_path, "worker", DRIFTLOG_APP="nowhere:app", DRIFTLOG_DATA_DIR=str(tmp_path / "data"))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "nowhere" in line
