"""A worker that keeps the stores of the others' partitions takes them over, when their owner dies, by what came since and not by all that is there."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from tests.integration.conftest import LoadRun
from tests.load.app import PARTITIONS
from tests.load.waiting import until
from tests.load.workers import WorkerHost

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OPS, LATE_OPS = 6_000, 100
"""Before the owner's partitions are kept by the other, and from then on until it dies: each changes one document."""


def asked(host: WorkerHost, path: str) -> httpx.Response:
    return httpx.get(f"{host.http}/{path}", trust_env=False)


def told(host: WorkerHost, metric: str) -> int:
    """A counter of the worker's."""
    (found,) = re.findall(rf"^driftlog_worker_{metric}_total{{.*}} (\S+)$", asked(host, "metrics").text, re.MULTILINE)
    return int(float(found))


def test_what_was_kept_is_not_read_again_when_its_owner_dies(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker(ops_per_batch=20, keys=500, counters=1.0)  # no conflicts: one that is not told yet is read again
    owner, other = (run.host(name, standby="true") for name in ("owner", "other"))

    def logs() -> str:
        return owner.tail() + other.tail()

    with owner, other:
        run.group.await_owners(2, 120, explain=logs)
        with run.feeder(OPS, records_per_second=400):
            pass
        run.group.await_drained(explain=logs)
        theirs = asked(owner, "readyz").json()["partitions"]
        wanted = sum(record.partition in theirs for record in run.history().state)
        until(lambda: told(other, "standby_records") >= wanted, f"{wanted} records are kept", 60, logs)
        before = told(other, "recovered_records")
        with run.feeder(LATE_OPS, records_per_second=100):
            pass
        run.group.await_drained(explain=logs)
        owner.close()
        until(
            lambda: len(asked(other, "readyz").json().get("partitions") or ()) == PARTITIONS,
            "the other one has all partitions",
            120,
            logs,
        )
        assert told(other, "recovered_records") - before <= LATE_OPS < wanted / 2
        with run.feeder(LATE_OPS, records_per_second=100):
            pass
        run.group.await_drained(explain=logs)
        assert other.stop() == 0
    found = run.judge()
    assert found.good, found
