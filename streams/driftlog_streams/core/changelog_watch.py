"""Noticing that somebody else has written into a partition that we own.

Nothing fences a worker that was expelled: what it had on the wire when it froze, lost its network or died may reach the topic after
its successor's states, and there the older state would stand as the last word, for every later reader, until the document
changes again. It cannot be prevented, so it is noticed and mended: offsets say how many records a partition has taken since we know
it, we know how many of them are ours, and where the two differ the range is read again. A document whose last record there
has not seen all that our state has is published once more (`PartitionMerger.heard`).

As long as nobody interferes this costs one comparison per flight and partition, and one request per check for all partitions.
"""

from __future__ import annotations


class ChangelogWatch:
    """How far each owned partition's changelog is known to be right."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def own(self, partition: int, following: int) -> None:
        """Watch a partition; `following` is the offset that comes next."""
        self._known[partition] = following

    def forget(self) -> None:
        """Own nothing any more."""
        self._known.clear()

    def published(self, partition: int, count: int, last: int) -> range | None:
        """We have published `count` states, the last of them at offset `last`. The offsets to read again, if others are among them.

        To be told flight by flight, in order (their receipts may be delivered in another).
        """
        first = self._known[partition]
        assert last + 1 - first >= count, "offsets only grow"
        self._known[partition] = last + 1
        return None if last + 1 - first == count else range(first, last + 1)

    def ended(self, partition: int, end: int) -> range | None:
        """The partition ends before offset `end` while nothing of ours is on its way. The offsets to read again."""
        first = self._known.get(partition, end)
        if end <= first:
            return None
        self._known[partition] = end
        return range(first, end)

    def behind(self, partition: int, end: int) -> bool:
        """Is there something that was not looked at?"""
        return self._known.get(partition, end) < end
