"""Whoever has no folder of their own, as a number that a container is run as, can run everything that needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftlog_schemas.home import NOWHERE, home
from driftlog_schemas.signing import Identity

PROGRAM = """
import sys
from pathlib import Path

def nobody():
    raise RuntimeError("Could not determine home directory.")

Path.home = nobody
from driftlog.__main__ import main
sys.argv = ["driftlog", *sys.argv[1:]]
sys.exit(main())
"""


def homeless(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    hidden = ("DRIFTLOG_", "XDG_", "HOME")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_where_the_system_knows_no_folder_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    assert home() == Path.home()
    monkeypatch.setattr(Path, "home", nobody)
    assert home() == NOWHERE and not NOWHERE.exists()


def test_who_has_no_folder_can_set_up_an_agent(tmp_path: Path) -> None:
    Identity.create("store-1").save(tmp_path / "store-1.json")
    done = homeless(tmp_path, "edge", "init", "--identity", "store-1.json", "--scope", "s1")
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "edge.toml").exists()


@pytest.mark.parametrize("words", [("worker", "--app", "nosuch:app"), ("project", "--app", "nosuch:app")])
def test_a_program_gets_as_far_as_what_is_wrong_with_the_call(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = homeless(tmp_path, *words)
    assert done.returncode != 0 and "nosuch" in done.stderr and "Traceback" not in done.stderr
