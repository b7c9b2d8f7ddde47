"""A topic of a space is deleted and made again while everybody works: what it takes to go on, and that nothing is lost or counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.topics import ops_topic, receipts_topic
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow]

APP = "tests.load.app:app"
PLACE = "here"


class Sales:
    """One agent sells without a pause until it is told to stop."""

    def __init__(self, edge: EdgeProcess, item: str) -> None:
        self.edge, self.item, self.count = edge, item, 0
        self._over = threading.Event()
        self._failed: list[AssertionError] = []
        self._thread = threading.Thread(target=self._sell, name=f"sales of {item}")
        self._thread.start()

    def _sell(self) -> None:
        try:
            while not self._over.wait(0.1):
                self.edge.do("hit", place=PLACE, item=self.item)
                self.count += 1
        except AssertionError as error:  # told where it is waited for
            self._failed.append(error)

    def more(self, count: int = 5) -> None:
        """Wait until so many more are sold."""
        goal = self.count + count
        until(lambda: self.count >= goal or bool(self._failed), f"{self.item} is sold", 60, self.edge.tail)
        assert not self._failed, self._failed

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def merged(run: LoadRun, worker: WorkerProcess) -> Iterator[dict[bytes, bytes | None]]:
    """What devices have sent that are gone since."""
    with run.feeder(300, records_per_second=100):
        pass
    run.group.await_drained(explain=worker.tail)
    yield others(run)


@contextmanager
def selling(run: LoadRun) -> Iterator[list[Sales]]:
    """Two agents that hold the place, each with an item of its own."""
    with ExitStack() as running:
        sales = []
        for number, item in enumerate(("tea", "oat")):
            sales.append(Sales(running.enter_context(run.edge(number, PLACE)), item))
            running.callback(sales[-1].stop)
        yield sales


def make_anew(run: LoadRun, shell: Shell, topic: str) -> None:
    TopicsAdmin(run.bootstrap).remove([topic])
    shell.run("topics", "apply", "--app", APP).assert_done()


def others(run: LoadRun) -> dict[bytes, bytes | None]:
    """The read model of all that is sold by nobody here."""
    latest = latest_by_key(run.history().state)
    return {key: record.value for key, record in latest.items() if parse_document_key(key).scope != PLACE}


def exact(run: LoadRun, sales: list[Sales], before: dict[bytes, bytes | None], worker: WorkerProcess) -> None:
    """Nobody sells any more: all of it is in the read model, once, at each agent too, and what else there was is as it was."""
    for one in sales:
        one.stop()
    sold = {one.item: one.count for one in sales}
    for one in sales:
        one.edge.await_quiet()
    until(
        lambda: {item: run.row(PLACE, item)["hits"] for item in sold} == sold,
        f"the read model has {sold}",
        120,
        lambda: f"{run.rows(PLACE)}{worker.tail()}",
    )
    for one in sales:
        for item, count in sold.items():
            until(lambda: one.edge.read(PLACE, item)["value"]["hits"] == count, f"{count} {item}", 90, one.edge.tail)  # noqa: B023
        assert one.edge._json("GET", "/v1/review")["commands"] == [], "nothing is left to a person"
    assert before and others(run) == before


def test_a_lost_op_topic_counts_on_behind_the_old_one_and_nothing_of_it_is_lost(
    on_broker: Callable[..., LoadRun], beside: Callable[[LoadRun], Shell]
) -> None:
    run = on_broker(ops_per_batch=5)
    shell, topic = beside(run), ops_topic(run.space.name)
    with run.worker("keeper") as worker, merged(run, worker) as before, selling(run) as sales:
        for one in sales:
            one.more()
        until(lambda: bool(run.rows(PLACE)), "something is merged", 60, worker.tail)
        make_anew(run, shell, topic)
        until(lambda: "driftlog topics renumber" in worker.log.read_text(), "it says what to do", 90, worker.tail)
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
    with run.worker("keeper") as worker, merged(run, worker) as before, selling(run) as sales:
        for one in sales:
            one.more()
        until(lambda: bool(run.rows(PLACE)), "something is merged", 60, worker.tail)
        make_anew(run, beside(run), receipts_topic(run.space.name))
        until(lambda: "they are joined" in worker.log.read_text(), "a worker notices", 90, worker.tail)
        for one in sales:
            one.more()
        exact(run, sales, before, worker)
        assert worker.stop() == 0
