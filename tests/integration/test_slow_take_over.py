"""A worker whose take-over is longer than its session stays in the group, also while others come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.integration.conftest import LoadRun

SESSION_SECONDS = 6.0
"""Half of what `tests.load.slow_take_over` takes. It is not imported: it changes recovery wherever it is."""

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_a_take_over_longer_than_the_session_ends(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker(ops_per_batch=10, session_timeout=SESSION_SECONDS)
    slow = replace(run, place=replace(run.place, app="tests.load.slow_take_over:app", anew=True))
    first, second = slow.worker("first"), slow.worker("second")

    def logs() -> str:
        return first.tail() + second.tail()

    with first:
        run.group.await_owners(1, 120, explain=logs)
        with run.feeder(10_000_000, records_per_second=20):
            run.group.await_progress(50, explain=logs)
            with second:
                run.group.await_owners(2, 120, explain=logs)
                run.group.await_progress(50, explain=logs)
                assert second.stop() == 0
            run.workload.stop()
        run.group.await_drained(explain=logs)
        assert first.stop() == 0
        assert "not recognized" not in logs()
    found = run.judge()
    assert found.good, found
