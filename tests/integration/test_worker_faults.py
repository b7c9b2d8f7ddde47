"""Workers that are killed, leave, join and freeze under load: afterwards every counter, vector and byte is as it must be.

Kills test that nothing acknowledged is lost and nothing counts twice. Leaving and joining test that partitions change hands
in order; this finds what kills do not, because there both the old and the new owner are alive. A freeze beyond the session
timeout makes a worker that does not know it was expelled.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.integration.conftest import LoadRun
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]

MakeRun = Callable[..., LoadRun]


def tails(*workers: WorkerProcess) -> Callable[[], str]:
    return lambda: "".join(worker.tail() for worker in workers)


def test_kills_while_ops_come(on_broker: MakeRun, full: bool) -> None:
    """Of workers, which their supervisors start again, and with `full` of whole hosts, which come back by themselves."""
    ops, kills = (100_000, 20) if full else (10_000, 2)
    run = on_broker(ops_per_batch=20, late=0.01, repeated=0.01)
    chance = random.Random(10)
    hosts = [run.host(name) for name in ("first", "second", "third")]
    logs = tails(*hosts)
    with hosts[0], hosts[1], hosts[2]:
        run.group.await_owners(3, 120, explain=logs)
        with run.feeder(10_000_000, records_per_second=75):
            for number in range(kills):
                run.group.await_progress(chance.randint(30, 250), explain=logs)
                victim = chance.choice(hosts)
                if number % 4 == 3:
                    victim.close()
                    run.group.await_progress(30, explain=logs)
                    victim.start()
                else:
                    victim.kill()
                    victim.await_children()
            until(lambda: run.workload.made >= ops, f"{ops} ops are made", 120)
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert [host.stop() for host in hosts] == [0, 0, 0]
    found = run.judge()
    assert found.good, found
    assert found.ops >= ops


def test_leaving_joining_and_freezing_under_load(on_broker: MakeRun, full: bool) -> None:
    leaves, freezes = (6, 2) if full else (1, 1)
    some, few = (500, 300) if full else (150, 100)
    """Records that are to go through between two changes."""
    run = on_broker(ops_per_batch=5, late=0.005, repeated=0.005)
    with run.worker("steady") as steady, run.worker("restless") as restless, ExitStack() as others:
        third = [others.enter_context(run.worker("third"))] if full else []
        workers = 2 + len(third)
        logs = tails(steady, restless, *third)
        run.group.await_owners(workers, 120, explain=logs)
        with run.feeder(10_000_000, records_per_second=250 if full else 100):
            for _ in range(leaves):
                run.group.await_progress(some, explain=logs)
                assert restless.stop() == 0
                run.group.await_owners(workers - 1, explain=logs)
                run.group.await_progress(few, explain=logs)
                restless.start()
                run.group.await_owners(workers, explain=logs)
            for _ in range(freezes):
                run.group.await_progress(some, explain=logs)
                frozen = restless.freeze()
                run.group.await_owners(workers - 1, explain=logs)
                run.group.await_progress(few, explain=logs)
                restless.thaw(frozen)
                run.group.await_owners(workers, explain=logs)
            run.group.await_progress(2 * some, explain=logs)
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert [worker.stop() for worker in (steady, restless, *third)] == [0] * workers
    found = run.judge()
    assert found.good, found
