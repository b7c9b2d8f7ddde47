"""`make test-containers` runs the tests on both brokers, and says why where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INSTALLED = ("-o", ".venv/.installed", "-o", ".venv/.locked")
"""Whatever has changed since: nothing is installed by this."""
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
"""What a make that runs these tests has told its children."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.mark.parametrize(
    ("code", "told"), [(1, "skipped: Docker does not answer"), (0, "--broker=kafka\n--broker=redpanda")]
)
def test_containers_are_used_where_docker_answers(tmp_path: Path, code: int, told: str) -> None:
    docker, pytest_ = tmp_path / "docker", tmp_path / "pytest"
    docker.write_text(f"#!/bin/sh\nexit {code}\n")
    pytest_.write_text('#!/bin/sh\nfor word; do case "$word" in --broker=*) echo "$word";; esac; done\n')
    for program in (docker, pytest_):
        program.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    environment = {**inherited, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["make", "-s", *INSTALLED, f"PYTEST={pytest_}", "test-containers"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()[: len(told)]) == (0, told), done.stderr
