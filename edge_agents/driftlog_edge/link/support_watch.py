"""Tells people in time that the cloud will take nothing more of the version of the app that runs here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from driftlog_edge.store.journal import Journal
from driftlog_edge.store.supported import first_unmet
from driftlog_schemas.spans import span
from driftlog_schemas.support import WARNED_FROM_MS

log = structlog.get_logger()

DAY_MS = 86_400_000


class SupportWatch:
    """Of one agent. `broker_ms` is the broker's time as far as it is known here: the end is one of the log's time."""

    def __init__(self, version: str, journal: Journal, broker_ms: Callable[[], int]) -> None:
        self._version = version
        self._journal = journal
        self._broker_ms = broker_ms
        self._said = ""

    def facts(self) -> dict[str, Any]:
        """For `/v1/status`."""
        floor = first_unmet(self._journal, self._version)
        left = None if floor is None else floor.from_ms - self._broker_ms()
        return {
            "version": self._version,
            "needs": None if floor is None else floor.version,
            "ends": None if floor is None else floor.from_ms,
            "ends_in_seconds": None if left is None else left / 1000,
            "warning": "" if floor is None or left is None else self._warning(floor.version, floor.from_ms, left),
        }

    def _warning(self, needs: str, from_ms: int, left: int) -> str:
        which = f"version {self._version}" if self._version else "an app that names no version"
        day = datetime.fromtimestamp(from_ms / 1000, UTC).date()
        if left <= 0:
            return f"support for {which} ended on {day}: what is written here waits until it is updated to {needs} or newer"
        if left > WARNED_FROM_MS:
            return ""
        return f"support for {which} ends in {span(left)}, on {day}: update it to {needs} or newer"

    def tick(self) -> None:
        """Say it in the log when it begins, then once for each day that is left, and when it is over."""
        facts = self.facts()
        left = facts["ends_in_seconds"]
        now = f"{facts['needs']} {max(-1, left * 1000 // DAY_MS)}" if facts["warning"] else ""
        if now != self._said:
            self._said = now
            if now:
                log.warning("this version of the app loses support", warning=facts["warning"])
