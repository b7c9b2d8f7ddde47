"""As many workers as you like: hosts that know nothing of one another share the partitions, each under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from driftlog_streams.settings import AUTO
from tests.integration.conftest import LoadRun
from tests.load.app import PARTITIONS
from tests.load.waiting import until
from tests.load.workers import WorkerHost

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def asked(host: WorkerHost, path: str) -> httpx.Response:
    return httpx.get(f"{host.http}/{path}", trust_env=False)


def lag(host: WorkerHost) -> float:
    """What a host says of the op records that wait for it."""
    (told,) = re.findall(r"^driftlog_worker_lag_records\{[^}]*\} (\S+)$", asked(host, "metrics").text, re.MULTILINE)
    return float(told)


def test_three_hosts_with_defaults_share_the_partitions(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker(ops_per_batch=10)
    hosts = [run.host(name) for name in ("first", "second", "third")]

    def logs() -> str:
        return "".join(host.tail() for host in hosts)

    with hosts[0], hosts[1], hosts[2]:
        with run.feeder(10_000_000, records_per_second=50):
            run.group.await_owners(3, explain=logs)
            first = run.group.owners()
            until(lambda: all(asked(host, "readyz").is_success for host in hosts), "all are ready", 90, logs)
            run.group.await_progress(500, explain=logs)
            assert run.group.owners() == first
            assert hosts[1].stop() == 0
            run.group.await_owners(2, explain=logs)
            hosts[1].start()
            run.group.await_owners(3, explain=logs)
            assert run.group.owners().keys() == first.keys()
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert all(asked(host, "healthz").json()["ok"] for host in hosts)
        owned = [p for host in hosts for p in asked(host, "readyz").json()["partitions"]]
        assert sorted(owned) == list(range(PARTITIONS))
        assert all("driftlog_worker_batches_total" in asked(host, "metrics").text for host in hosts)
        until(lambda: sum(map(lag, hosts)) == 0, "no host says that anything waits", 90, logs)
        assert [host.stop() for host in hosts] == [0, 0, 0]
    found = run.judge()
    assert found.good, found


def test_one_command_merges_on_all_cores_and_comes_back_on_one(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker(ops_per_batch=10)
    worker = run.worker("whole", workers=AUTO)
    with worker:
        with run.feeder(10_000_000, records_per_second=50):
            run.group.await_owners(worker.count, explain=worker.tail)
            run.group.await_progress(200, explain=worker.tail)
            run.workload.stop()
        assert worker.stop() == 0
    alone = run.worker("whole")
    with alone:
        run.group.await_owners(1, explain=alone.tail)
        run.group.await_drained(explain=alone.tail)
    found = run.judge()
    assert found.good, found
