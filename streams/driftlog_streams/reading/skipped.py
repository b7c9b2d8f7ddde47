"""What a reader of a topic passes over, said in one line however much it is: anybody's tool may write to a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

UNREADABLE = "not readable"
MISPLACED = "under another name than its own"
UNSIGNED = "signed by nobody who may say so"


class Skipped:
    """Of one look at one topic."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Why -> how many."""
        self.last = -1
        """Offset of the last."""

    def add(self, why: str, offset: int) -> None:
        """One more."""
        self.counts[why] += 1
        self.last = offset


@contextmanager
def skipping(topic: str) -> Iterator[Skipped]:
    """Count what is passed over while the topic is read, and say it in the end."""
    skipped = Skipped()
    try:
        yield skipped
    finally:
        if skipped.counts:
            log.warning("records are passed over", topic=topic, why=dict(skipped.counts), last=skipped.last)
