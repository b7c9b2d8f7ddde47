"""A worker whose disk is full says so and gives way; the others take over, and it comes back when there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

DISK_BYTES = 64 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may mount one."""
    folder = tmp_path / "workers-small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


def test_a_worker_on_a_full_disk_gives_way_and_comes_back(on_broker: Callable[..., LoadRun], small_disk: Path) -> None:
    run = on_broker(ops_per_batch=20)
    small, large = run.worker("small"), run.worker("large")
    small.keep_in(small_disk)

    def logs() -> str:
        return small.tail() + large.tail()

    with small, large:
        with run.feeder(10_000_000, records_per_second=60):
            run.group.await_owners(2, explain=logs)
            fill(small_disk / "others")
            until(lambda: "No space left" in small.log.read_text(), "the small one says why it ends", 60, logs)
            run.group.await_owners(1, explain=logs)
            run.group.await_progress(300, explain=logs)
            until(lambda: "is full" in small.log.read_text(), "its supervisor says what it waits for", 60, logs)
            (small_disk / "others").unlink()
            run.group.await_owners(2, explain=logs)
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert (small.stop(), large.stop()) == (0, 0)
    found = run.judge()
    assert found.good, found
