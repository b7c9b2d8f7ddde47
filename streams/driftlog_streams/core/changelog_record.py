"""A record of a topic that is read beside the op topic, whichever client read it."""

from __future__ import annotations

from typing import NamedTuple

from driftlog_schemas import groups

UNTIMED = -1
"""The topic keeps its writers' times, and those are not believed."""


class ChangelogRecord(NamedTuple):
    """Of states, receipts, conflicts, parked commands."""

    key: bytes
    value: bytes | None
    offset: int
    headers: groups.Headers
    append_ms: int = UNTIMED
    """When the broker took it."""
