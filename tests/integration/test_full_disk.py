"""A disk that is full: a worker says so and gives way to the others, and comes back when there is room; an edge goes on answering, ends in
good order and starts again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.fleet import Fleet
from tests.load.waiting import until
from tests.load.workers import WorkerPlace
from tests.small_disk import fill, small_disk

__all__ = ["small_disk"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]


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


def test_an_edge_on_a_full_disk_answers_ends_in_order_and_starts_again(small_disk: Path) -> None:
    place = WorkerPlace("127.0.0.1:1", "http://127.0.0.1:1", small_disk, "load")
    with EdgeProcess(place, Fleet.of("small", 1, seed=3).members[0], ["market"]) as edge:
        edge.do("hit", place="market", item="tea", times=5, key="c1")
        fill(small_disk / "others")
        with pytest.raises(AssertionError, match="507"):
            while True:  # the first ones may find room that the store had taken before
                edge.do("name", place="market", item="tea", label="x" * 1_000)
        assert edge.read("market", "tea")["value"]["hits"] == 5
        assert edge.stop() == 0, edge.tail()
        assert "Traceback" not in edge.log.read_text(), edge.log.read_text()
        edge.start()
        assert edge.read("market", "tea")["value"]["hits"] == 5
        assert edge.do("hit", place="market", item="tea", times=5, key="c1")["result"] == 5
        assert "no space left" in edge.status()["problem"]
        (small_disk / "others").unlink()
        assert edge.do("hit", place="market", item="tea", times=2)["result"] == 7
        assert edge.stop() == 0, edge.tail()
