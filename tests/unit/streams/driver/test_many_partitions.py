"""A worker with hundreds of partitions opens no more files than a shell gives a process that asks for nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.streams.driver import many_partitions

PARTITIONS, FILES = 400, 1_024


@pytest.mark.slow
def test_a_worker_with_hundreds_of_partitions_is_far_from_the_limit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", many_partitions.__name__, str(tmp_path), str(PARTITIONS), str(FILES)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["stored"] == PARTITIONS
    assert said["files"] < FILES // 8, "not even one for each partition, and there is room for connections"
