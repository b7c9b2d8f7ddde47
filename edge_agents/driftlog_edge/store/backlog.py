"""Which of our own commands are not done: no verdict yet, or not yet in the confirmed state; how many, and since when.

Everybody asks this (status, metrics, heartbeats), so it must not cost more the longer a device is offline. The pending lsns are kept as
runs of neighbours: a new command lengthens the last run, a merged one usually shortens the first, and one that is stuck makes a run
of its own. The index in the store stays the truth; this is counted from it at the start and after a rollback.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, islice

from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.sealed import SealedBatches


class Backlog:
    """The set of pending lsns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._sealed = SealedBatches(journal)
        self._first: list[int] = []
        self._last: list[int] = []
        self._count = 0
        self.recount()
        journal.on_rollback(self.recount)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, lsn: object) -> bool:
        if not isinstance(lsn, int):
            return False
        at = bisect_right(self._first, lsn) - 1
        return at >= 0 and lsn <= self._last[at]

    @property
    def oldest(self) -> int | None:
        """The lowest pending lsn."""
        return self._first[0] if self._first else None

    def after(self, lsn: int, limit: int) -> list[int]:
        """The first pending lsns above `lsn`, in order."""
        at = max(0, bisect_right(self._first, lsn) - 1)
        runs = (range(max(f, lsn + 1), e + 1) for f, e in zip(self._first[at:], self._last[at:], strict=True))
        return list(islice(chain.from_iterable(runs), limit))

    def recount(self) -> None:
        """As the store has it."""
        self._first, self._last, self._count = [], [], 0
        lsns = {
            keys.parse_lsn(key)
            for family in (Family.PENDING, Family.OUTBOX)
            for key, _ in self._journal.scan(family, b"")
        }
        for batch in self._sealed.all():
            lsns.update(batch.lsns)
        for lsn in sorted(lsns):
            self.added(lsn)

    def added(self, lsn: int) -> None:
        """A new command; lsns only grow."""
        assert not self._last or lsn > self._last[-1], "a new command has the highest lsn"
        self._count += 1
        if self._last and self._last[-1] == lsn - 1:
            self._last[-1] = lsn
        else:
            self._first.append(lsn)
            self._last.append(lsn)

    def dropped(self, lsn: int) -> None:
        """It is decided, and the confirmed state has all of it."""
        at = bisect_right(self._first, lsn) - 1
        assert at >= 0 and lsn <= self._last[at], f"command {lsn} is not pending"
        self._count -= 1
        first, last = self._first[at], self._last[at]
        if first == last:
            del self._first[at], self._last[at]
        elif lsn == first:
            self._first[at] = lsn + 1
        elif lsn == last:
            self._last[at] = lsn - 1
        else:
            self._first.insert(at + 1, lsn + 1)
            self._last.insert(at, lsn - 1)
