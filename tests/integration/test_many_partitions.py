"""Hundreds of partitions: one worker owns them with no more open files than a shell gives it, or three share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.conftest import LoadRun

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]

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


def test_three_hosts_with_256_partitions(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun], full: bool
) -> None:
    if not full:
        pytest.skip("three workers over 256 partitions come with --full")
    run = load_run(restartable_broker.bootstrap, ops_per_batch=10, partitions=PARTITIONS)
    hosts = [run.host(name) for name in ("first", "second", "third")]

    def logs() -> str:
        return "".join(host.tail() for host in hosts)

    with hosts[0], hosts[1], hosts[2]:
        run.group.await_owners(3, 240, explain=logs)
        with run.feeder(10_000_000, records_per_second=100):
            run.group.await_progress(300, explain=logs)
            hosts[0].close()  # the host is gone
            run.group.await_owners(2, 240, explain=logs)
            run.group.await_progress(300, explain=logs)
            hosts[0].start()
            run.group.await_owners(3, 240, explain=logs)
            assert hosts[1].stop() == 0
            run.group.await_owners(2, 240, explain=logs)
            run.group.await_progress(300, explain=logs)
            run.workload.stop()
        run.group.await_drained(240, explain=logs)
        assert [host.stop() for host in (hosts[0], hosts[2])] == [0, 0]
    found = run.judge()
    assert found.good, found
