"""What is told of records that are nobody's, and of devices that begin too many lives.

A stranger may send as much as it likes in any name. Each answer costs a record, so only a few a minute are given, by append time;
what a known device sends is always answered. The log has a few lines a minute of either.
"""

from __future__ import annotations

import structlog

from driftlog_schemas.sparing import Sparing
from driftlog_streams.core.admission import UNFORESEEN, Refusal
from driftlog_streams.core.chain import Link
from driftlog_streams.core.life_watch import MAX_LIVES
from driftlog_streams.core.partition import Partition

log = structlog.get_logger()

MINUTE_MS = 60_000
A_MINUTE = 6
KEPT = frozenset({"unknown_schema", UNFORESEEN})
"""Refusals that say nothing against a record: it is kept for people."""
NOISE_A_MINUTE = 600
"""So many of those, for anybody may send them."""


class RefusalBudget:
    """Of one partition."""

    def __init__(self, a_minute: int = A_MINUTE) -> None:
        self._a_minute = a_minute
        self._minute = -1
        self._left = a_minute

    def take(self, append_ms: int) -> bool:
        """May one more be answered at this time?"""
        minute = append_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self._left = minute, self._a_minute
        if not self._left:
            return False
        self._left -= 1
        return True


class Refusals:
    """Of one partition."""

    def __init__(self, partition: Partition) -> None:
        self._at = partition
        self._strangers, self._noise = RefusalBudget(), RefusalBudget(NOISE_A_MINUTE)
        self._refused = Sparing(log, "batch refused")
        self._cloned = Sparing(log, "a device begins too many lives: its key may be in use in several places")

    def refuse(self, refusal: Refusal, offset: int, append_ms: int) -> None:
        """A record that touches no chain: its device is told, or people are."""
        self._refused(code=refusal.code, device=refusal.device_id, reason=refusal.reason, offset=offset)
        if refusal.code in KEPT and self._noise.take(append_ms):
            self._at.work.quarantined += 1
            quarantined = self._at.records.quarantined(refusal.value, refusal.code, refusal.reason, offset, append_ms)
            self._at.work.outcomes.append(quarantined)
        if refusal.device_id and (refusal.known or self._strangers.take(append_ms)):
            self._at.work.outcomes.append(self._at.records.refusal(refusal, offset, append_ms))

    def cloned(self, link: Link) -> None:
        """Its batch is taken like any other; that a person should look is said in the log, in a metric and to the device."""
        self._cloned(replica=link.batch.replica)
        self._at.work.cloned += 1
        reason = f"over {MAX_LIVES} new lives in an hour: is the folder or the identity file copied?"
        told = Refusal("cloned", reason, link.device_id, known=True)
        self._at.work.outcomes.append(self._at.records.refusal(told, link.offset, link.append_ms))
