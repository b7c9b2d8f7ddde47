"""How far workers are behind, as a real broker tells it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from driftlog_streams.reading.merge_lag import Lag, LagReader
from tests.integration.conftest import LoadRun
from tests.integration.test_edges import PLACE
from tests.load.waiting import until

pytestmark = pytest.mark.broker


def test_lag_grows_without_a_worker_and_ends_with_one(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    reader, partitions = LagReader(run.place.bootstrap), range(run.place.partitions)

    def waiting() -> list[Lag]:
        return [lag for lag in reader.look(run.place.space, partitions).values() if lag.records != 0]

    assert waiting() == []
    with run.edge(0, PLACE) as edge:
        with run.worker("first") as worker:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            until(lambda: waiting() == [], "all is confirmed", 90)
            assert worker.stop() == 0
        begun_ms = time.time_ns() // 1_000_000
        edge.do("hit", place=PLACE, item="tea")
        until(lambda: len(waiting()) == 1, "a change waits", 90)
        (lag,) = waiting()
        assert (lag.records, lag.end - (lag.merged or 0)) == (1, 1)
        assert begun_ms <= (lag.waits_since_ms or 0) <= time.time_ns() // 1_000_000
        with run.worker("second") as worker:
            until(lambda: waiting() == [], "it is merged", 90)
            assert worker.stop() == 0
