"""A topic of a space is deleted and made again while everybody works: what it takes to go on, and that nothing is lost or counted twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.topics import ops_topic, receipts_topic
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Ended, Shell
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE, Sales, require_known_everywhere, selling, sold
from tests.load.checker import latest_by_key
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow]

APP = "tests.load.app:app"


@contextmanager
def at_work(run: LoadRun, worker: WorkerProcess) -> Iterator[tuple[dict[bytes, bytes | None], list[Sales]]]:
    """What devices have sent that are gone since is merged, and agents sell beside it."""
    with run.feeder(300, records_per_second=100):
        pass
    run.group.await_drained(explain=worker.tail)
    before = others(run)
    with selling(run) as sales:
        for one in sales:
            one.more()
        until(lambda: bool(run.rows(PLACE)), "something is merged", 120, worker.tail)
        yield before, sales


def make_anew(run: LoadRun, shell: Shell, topic: str) -> None:
    TopicsAdmin(run.bootstrap).remove([topic])
    shell.run("topics", "apply", "--app", APP).assert_done()


def others(run: LoadRun) -> dict[bytes, bytes | None]:
    """The read model of all that is sold by nobody here."""
    latest = latest_by_key(run.history().state)
    return {key: record.value for key, record in latest.items() if parse_document_key(key).scope != PLACE}


def exact(run: LoadRun, sales: list[Sales], before: dict[bytes, bytes | None], worker: WorkerProcess) -> None:
    """Nobody sells any more: all of it is in the read model, once, at each agent too, and what else there was is as it was."""
    counts = sold(sales, seconds=240)  # what was sent into the lost topic is sent again within two minutes
    until(
        lambda: {item: run.row(PLACE, item)["hits"] for item in counts} == counts,
        f"the read model has {counts}",
        120,
        lambda: f"{run.rows(PLACE)}{worker.tail()}",
    )
    require_known_everywhere(sales, counts)
    assert before and others(run) == before


def test_a_lost_op_topic_counts_on_behind_the_old_one_and_nothing_of_it_is_lost(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker(ops_per_batch=5)
    shell, topic = beside(run), ops_topic(run.space.name)
    with run.worker("keeper") as worker, at_work(run, worker) as (before, sales):
        make_anew(run, shell, topic)
        until(lambda: "driftlog topics renumber" in worker.log.read_text(), "it says what to do", 180, worker.tail)
        for one in sales:
            one.more()
        worker.stop()

        words = ("topics", "renumber", "--app", APP, "--json")
        shell.run(*words).assert_failed(1, "nothing was changed", "stop all workers")
        done = shell.run(*words, "--yes").data
        assert done["done"] and done["partitions"], done
        assert shell.run(*words, "--yes").data == {**done, "done": False, "partitions": []}
        with worker:
            for one in sales:
                one.more()
            exact(run, sales, before, worker)
            assert worker.stop() == 0


CUT_OFF = (
    ("driftlog_streams.replaying.renumbering:Commits.begin", "before", 1),
    ("driftlog_streams.replaying.renumbering:Commits.begin", "after", 1),
    ("driftlog_streams.replaying.renumbering:Delivery.deliver", "after", 1),
    ("driftlog_streams.replaying.renumbering:TopicsAdmin.forget_before", "before", 1),
)
"""After it has looked, after the commits, after one of two partitions is filled, and after both are."""


@pytest.mark.deep
def test_what_was_cut_off_at_any_step_is_gone_on_with_and_no_worker_goes_on_before_it_is_done(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker(partitions=2, ops_per_batch=5)
    shell, topic = beside(run), ops_topic(run.space.name)
    words = ("topics", "renumber", "--app", APP, "--json")
    with run.worker("keeper") as worker, at_work(run, worker) as (before, sales):
        assert worker.stop() == 0
        make_anew(run, shell, topic)
        wanted = {one["partition"]: one["goes_on_at"] for one in _gaps(shell.run(*words))}
        assert set(wanted) == {0, 1}
        for step, moment, number in CUT_OFF:
            shell.killed(step, moment, number, *words, "--yes")
            for one in sales:
                one.more()
            left = {one["partition"]: one["goes_on_at"] for one in _gaps(shell.run(*words))}
            assert left == wanted, (step, moment)
        with worker:
            until(
                lambda: "driftlog topics renumber" in worker.log.read_text(), "it waits for the rest", 180, worker.tail
            )
            worker.stop()
        done = _once_nobody_is_a_member(shell, *words, "--yes")
        assert done["done"] and {one["partition"]: one["goes_on_at"] for one in done["partitions"]} == wanted
        assert shell.run(*words, "--yes").data["partitions"] == []
        with worker:
            for one in sales:
                one.more()
            exact(run, sales, before, worker)
            assert worker.stop() == 0


def _once_nobody_is_a_member(shell: Shell, *words: str) -> dict[str, Any]:
    """A worker that ended at once is one until its session is over; till then the command says so, and does nothing."""
    tries: list[Ended] = []

    def through() -> bool:
        tries.append(shell.run(*words))
        if tries[-1].code:
            tries[-1].assert_failed(1, "has members", "stop all workers", "run the command again")
        return tries[-1].code == 0

    until(through, "the group has no member", 60, lambda: str(tries[-1]))
    return dict(tries[-1].data)


def _gaps(looked: Ended) -> list[dict[str, int]]:
    looked.assert_failed(1, "nothing was changed")
    return list(json.loads(looked.out)["partitions"])


def test_receipts_that_were_made_anew_are_filled_again_by_workers_that_run(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker(ops_per_batch=5)
    with run.worker("keeper") as worker, at_work(run, worker) as (before, sales):
        make_anew(run, beside(run), receipts_topic(run.space.name))
        until(lambda: "they are joined" in worker.log.read_text(), "a worker notices", 180, worker.tail)
        for one in sales:
            one.more()
        exact(run, sales, before, worker)
        assert worker.stop() == 0
