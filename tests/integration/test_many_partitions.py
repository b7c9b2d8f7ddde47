"""One worker owns hundreds of partitions with no more open files than a shell gives it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.conftest import LoadRun

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PARTITIONS = 256
FILES = 1024
"""What most systems allow a process that asks for nothing."""


def test_one_worker_with_256_partitions(restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]) -> None:
    run = load_run(restartable_broker.bootstrap, ops_per_batch=10, partitions=PARTITIONS)
    with run.worker("alone", files=FILES) as worker:
        run.group.await_owners(1, 120, explain=worker.tail)
        with run.feeder(10_000_000, records_per_second=100):
            run.group.await_progress(300, explain=worker.tail)
            worker.kill()
            run.group.await_progress(300, explain=worker.tail)
            (pid,) = worker.children()
            handles = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            run.workload.stop()
        run.group.await_drained(explain=worker.tail)
        assert worker.stop() == 0
    assert handles < FILES // 4, handles
    found = run.judge()
    assert found.good, found
