"""What a record says finds a place in PostgreSQL, whatever it is."""

from __future__ import annotations

import pytest

from driftlog_streams.projections.postgres.writing import _moment


@pytest.mark.parametrize(
    ("at_ms", "told"),
    [(0, "1970-01-01"), (1_790_000_000_000, "2026-09-21"), (-1, "1970-01-01"), ((1 << 63) - 1, "9999-12-31")],
)
def test_a_time_that_no_calendar_has_stops_no_projection(at_ms: int, told: str) -> None:
    assert _moment(at_ms).date().isoformat() == told
