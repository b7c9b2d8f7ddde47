"""Partitions of which the log has refused a batch: its topic takes no batch of that size, or this device may not write it any more.

The same batch would be refused again at once, as often as it were sent. So nothing goes there for a while that doubles, until something is taken.
"""

from __future__ import annotations

from driftlog_edge.outgoing.held import Partition

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""What was mended is noticed after this time at the latest."""


class Pauses:
    """See the module."""

    def __init__(self) -> None:
        self._until: dict[Partition, float] = {}
        self._next: dict[Partition, float] = {}
        """How long each is left alone after the next refusal."""

    @property
    def partitions(self) -> frozenset[Partition]:
        """Where nothing goes now."""
        return frozenset(self._until)

    def refused(self, partition: Partition, now: float) -> None:
        """Begin a pause; the batches that were on their way at the same time begin no other."""
        if partition not in self._until:
            pause = self._next.get(partition, FIRST_SECONDS)
            self._until[partition] = now + pause
            self._next[partition] = min(LONGEST_SECONDS, 2 * pause)

    def taken(self, partition: Partition) -> None:
        """The log takes batches there."""
        self._until.pop(partition, None)
        self._next.pop(partition, None)

    def tick(self, now: float) -> None:
        """End what is over."""
        for partition in [partition for partition, until in self._until.items() if until <= now]:
            del self._until[partition]
