"""A device whose clock is set to 2030 and to 1970 while it works: it goes on, nothing is lost or counted twice, and what it wrote wins no longer than it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.integration.conftest import LoadRun
from tests.integration.test_edges import PLACE, await_equal
from tests.load.clocks import SetClock, year
from tests.load.edges import EdgeProcess
from tests.load.link import Link
from tests.load.waiting import until

pytestmark = pytest.mark.broker


def test_a_clock_is_set_far_ahead_and_far_back(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    store, office = run.edge(0, PLACE), run.edge(1, PLACE)
    clock = SetClock(store)
    with run.worker("only") as worker, store, office:
        hits = store.do("hit", place=PLACE, item="tea", wait="merged")["result"]
        assert not wrong(store)
        for number in (2030, 1970):
            clock.set_to(year(number))
            store.go_offline(True)  # whatever of it waits until a time of day ends all the same
            store.do("hit", place=PLACE, item="tea")
            store.do("name", place=PLACE, item="tea", label=f"offline in {number}")
            store.go_offline(False)
            store.await_quiet()
            until(lambda: wrong(store), "it knows that its clock is wrong", 60, store.tail)

            store.do("name", place=PLACE, item="tea", label=f"store in {number}", wait="merged")
            await_equal(store, office, item="tea", label=f"store in {number}", hits=hits + 1)
            office.do("name", place=PLACE, item="tea", label=f"office after {number}", wait="merged")
            await_equal(store, office, item="tea", label=f"office after {number}")

            store.go_offline(True)
            store.do("hit", place=PLACE, item="tea")
            store.kill()
            store.start()
            store.do("hit", place=PLACE, item="tea")
            store.go_offline(False)
            store.await_quiet()
            hits += 3
            await_equal(store, office, item="tea", label=f"office after {number}", hits=hits)
        clock.set_right()
        store.do("name", place=PLACE, item="tea", label="in time", wait="merged")
        await_equal(store, office, item="tea", label="in time")
        until(lambda: not wrong(store), "it knows that its clock is right", 60, store.tail)
        assert store.stop() == 0
        assert worker.stop() == 0
    found = run.judge(others=14)
    assert found.good, found


@pytest.mark.deep
def test_a_clock_is_set_back_while_nothing_can_be_reached(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with Link(run.bootstrap) as link, run.worker("only"):
        edge = EdgeProcess(replace(run.place, bootstrap=link.bootstrap), run.edges[0], (PLACE,))
        clock = SetClock(edge)
        with edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            link.cut()
            until(lambda: edge.status()["connection"] == "OFFLINE", "it has noticed", 60, edge.tail)
            clock.set_to(year(1970))
            edge.do("hit", place=PLACE, item="tea")
            link.mend()
            edge.await_quiet()
            assert edge.do("hit", place=PLACE, item="tea", wait="merged")["result"] == 3
            assert edge.stop() == 0
    found = run.judge(others=3)
    assert found.good, found


def wrong(edge: EdgeProcess) -> bool:
    return abs(edge.status()["clock_skew_ms"]) > 24 * 3600 * 1000
