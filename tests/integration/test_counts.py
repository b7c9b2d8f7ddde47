"""An agent whose app declares another partition count than the topics have: nothing of it goes out, nothing is lost, and mended it counts once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_schemas.partitioning import partition_of
from tests.integration.conftest import LoadRun
from tests.load import app as load_app
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "hall"
DECLARED, MISTAKEN = 2, 5


def declaring(run: LoadRun, partitions: int) -> EdgeProcess:
    """The agent of one folder, of an app that declares so many."""
    edge = run.edge(0, PLACE)
    edge.environment[load_app.PARTITIONS_VARIABLE] = str(partitions)
    return edge


def test_an_app_with_another_count_sends_nothing_and_what_was_written_counts_once_when_it_is_mended(
    on_broker: Callable[..., LoadRun],
) -> None:
    run = on_broker(partitions=DECLARED)
    assert partition_of(PLACE, DECLARED) != partition_of(PLACE, MISTAKEN)
    with run.worker("only") as worker:
        with declaring(run, MISTAKEN) as edge:
            edge.do("hit", place=PLACE, item="tea")
            edge.do("hit", place=PLACE, item="tea")
            until(lambda: "partitions" in edge.status()["problem"], "it says what is wrong", 60, edge.tail)
            assert f"has {DECLARED} partitions" in edge.status()["problem"]
            assert f"declare partitions={DECLARED} for space {run.space.name}" in edge.status()["problem"]
            assert edge.status()["pending"] == 2
            edge.kill()
        assert run.history().ops == [], "nothing has left"
        with declaring(run, DECLARED) as edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            until(lambda: edge.status()["pending"] == 0, "all of it is merged", 90, worker.tail)
        assert run.row(PLACE, "tea")["hits"] == 3

        edge = declaring(run, MISTAKEN)
        edge.launch()
        until(lambda: not edge.running, "it does not start", 90, edge.tail)
        assert f"declares {MISTAKEN} partitions of space {run.space.name}" in edge.tail()
        with declaring(run, DECLARED) as edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
        assert run.row(PLACE, "tea")["hits"] == 4
