"""Noticing that somebody else has written into a topic of a partition that we own: states, rows, conflicts.

Nothing fences a worker that was expelled: what it had on the wire when it froze, lost its network or died may reach the topic after
its successor's records, and there the older word would stand as the last, for every later reader, until we write again on
the same key. It cannot be prevented, so it is noticed and mended: offsets say how many records a partition has taken since we know
it, we know how many of them are ours, and where the two differ the range is read again and answered (see `PartitionMerger.heard`).

As long as nobody interferes this costs one comparison per flight and partition, and one request per check for all partitions.
"""

from __future__ import annotations


class ChangelogWatch:
    """How far one topic is known to be right, in each owned partition."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._ours: dict[int, tuple[int, int]] = {}
        """How many records of ours are behind what is known, and the offset of the last: more of ours may stand among them."""
        self.unread: dict[int, range] = {}
        """What must be looked at, by partition."""

    def own(self, partition: int, following: int) -> None:
        """Watch a partition; `following` is the offset that comes next."""
        self._known[partition] = following

    def forget(self) -> None:
        """Own nothing any more."""
        self._known.clear()
        self._ours.clear()
        self.unread.clear()

    def published(self, partition: int, count: int, last: int, *, whole: bool = True) -> None:
        """We have published `count` more records, the last of them at offset `last`.

        To be told flight by flight, in order (their receipts may be delivered in another). `whole`: no record of a flight that comes
        later stands before `last`.
        """
        ours, furthest = self._ours.pop(partition, (0, -1))
        ours, furthest = ours + count, max(furthest, last)
        if not whole and ours:
            self._ours[partition] = ours, furthest
        elif ours:
            self._counted(partition, ours, furthest + 1)

    def ended(self, partition: int, end: int) -> None:
        """The partition ends before offset `end` while nothing of ours is on its way."""
        if self.behind(partition, end):
            ours, _ = self._ours.pop(partition, (0, -1))
            self._counted(partition, ours, end)

    def _counted(self, partition: int, ours: int, end: int) -> None:
        first, self._known[partition] = self._known[partition], end
        assert end - first >= ours, "offsets only grow"
        if end - first > ours:
            known = self.unread.get(partition, range(first, end))
            self.unread[partition] = range(known.start, end)

    def read(self, partition: int, offsets: range) -> None:
        """This beginning of what was unread has been looked at."""
        left = range(offsets.stop, self.unread.pop(partition).stop)
        if left:
            self.unread[partition] = left

    def again(self, partition: int, offsets: range) -> None:
        """The owner that has just begun must look at these, before all others."""
        if offsets:
            self.unread[partition] = offsets

    def behind(self, partition: int, end: int) -> bool:
        """Is there something that is not known?"""
        return self._known.get(partition, end) < end

    def looked_at(self, partition: int) -> int:
        """The offset before which everything was looked at."""
        unread = self.unread.get(partition)
        return self._known[partition] if unread is None else unread.start
