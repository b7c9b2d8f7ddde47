"""A topic of a space is deleted and made again while everybody works: what it takes to go on, and that nothing is lost or counted twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.topics import ops_topic, receipts_topic
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
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
