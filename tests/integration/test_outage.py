"""The broker is away for a while under load: edges go on selling, workers come back by themselves, and everything drains."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OUTAGE_SECONDS = 8.0
"""Longer than a session."""
FULL_SECONDS = 60.0
PLACES = ("place-north", "place-south")


def read_everywhere(edge: EdgeProcess) -> dict[str, int]:
    """place -> what this replica counts there."""
    return {place: edge.read(place, "tea")["value"]["hits"] for place in PLACES}


def test_the_broker_is_away_for_a_while(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun], full: bool
) -> None:
    run = load_run(restartable_broker.bootstrap, ops_per_batch=10, repeated=0.01)
    sold = dict.fromkeys(PLACES, 0)

    def sell(edge: EdgeProcess, place: str) -> None:
        edge.do("hit", place=place, item="tea")
        sold[place] += 1

    with (
        run.worker("pool", workers=3) as pool,
        run.edge(0, *PLACES) as north,
        run.edge(1, *PLACES) as south,
        run.feeder(10_000_000, records_per_second=100),
    ):
        run.group.await_progress(300, explain=pool.tail)
        sell(north, PLACES[0])
        restartable_broker.stop()
        back = time.monotonic() + (FULL_SECONDS if full else OUTAGE_SECONDS)
        while time.monotonic() < back:
            sell(north, PLACES[0])
            sell(south, PLACES[1])
        assert north.status()["pending"] > 0
        restartable_broker.start()
        sell(south, PLACES[1])
        run.group.await_progress(300, explain=pool.tail)
        run.workload.stop()
        for edge in (north, south):
            edge.await_quiet()
        run.group.await_drained(explain=pool.tail)
        for edge in (north, south):
            until(lambda: read_everywhere(edge) == sold, f"{edge.device.device_id} has it all", 90, edge.tail)  # noqa: B023
        assert pool.stop() == 0
    found = run.judge(others=sum(sold.values()))
    assert found.good, found
