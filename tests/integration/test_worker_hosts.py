"""As many workers as you like: hosts that know nothing of one another share the partitions, each under a name of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.conftest import LoadRun

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_three_hosts_with_defaults_share_the_partitions(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker(ops_per_batch=10)
    hosts = [run.host(name) for name in ("first", "second", "third")]

    def logs() -> str:
        return "".join(host.tail() for host in hosts)

    with hosts[0], hosts[1], hosts[2]:
        with run.feeder(10_000_000, records_per_second=50):
            run.group.await_owners(3, explain=logs)
            first = run.group.owners()
            run.group.await_progress(500, explain=logs)
            assert run.group.owners() == first
            assert hosts[1].stop() == 0
            run.group.await_owners(2, explain=logs)
            hosts[1].start()
            run.group.await_owners(3, explain=logs)
            assert run.group.owners().keys() == first.keys()
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert [host.stop() for host in hosts] == [0, 0, 0]
    found = run.judge()
    assert found.good, found
