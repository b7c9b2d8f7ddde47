"""Where a device's backlog goes, from two of its heartbeats: what it had not confirmed then and has not now. For looking only, like all of heartbeats."""

from __future__ import annotations

from typing import NamedTuple

from driftlog_schemas.messages import Heartbeat

LEAST_MS = 20_000
"""Heartbeats nearer to each other say nothing of a pace."""


class Outlook(NamedTuple):
    """See the module."""

    an_hour: float
    """Commands by which the backlog grows in an hour; below 0 it falls."""
    gone_in_seconds: float | None
    """When nothing is left if that goes on, counted from the later heartbeat; None where it does not fall."""


def outlook(before: Heartbeat | None, word: Heartbeat) -> Outlook | None:
    """None where nothing waits, or nobody can tell: no earlier heartbeat of the same life, one too near, or a clock that was set."""
    if before is None or not word.pending or before.replica != word.replica:
        return None
    passed = word.sent_ms - before.sent_ms
    if passed < LEAST_MS:
        return None
    grown = word.pending - before.pending
    return Outlook(grown * 3_600_000 / passed, word.pending * passed / -grown / 1000 if grown < 0 else None)
