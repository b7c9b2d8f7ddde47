"""Which of our own commands are not done: no verdict yet, or not yet in the confirmed state; how many, and since when.

Everybody asks this (status, metrics, heartbeats), so it must not cost more the longer a device is offline. The pending lsns are kept as
runs of neighbours: a new command lengthens the last run, a merged one usually shortens the first, and one that is stuck makes a run
of its own. The index in the store stays the truth: this is counted from it at the start, and what a failed write has taken back is
looked up in it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, islice

from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.sealed import Open


class Backlog:
    """The set of pending lsns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first: list[int] = []
        self._last: list[int] = []
        self._count = 0
        lsns: set[int] = set()
        for family in (Family.PENDING, Family.OUTBOX, Family.SEALED):
            for key, value in journal.scan(family, b""):
                lsns |= _named(family, key, value)
        for lsn in sorted(lsns):
            self.added(lsn)
        journal.on_given_up(self._given_up)

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

    def _given_up(self, writes: Writes) -> None:
        """New commands never were; what was done is pending again."""
        back: set[int] = set()
        for (family, key), value in writes.items():
            if family is Family.OPLOG and value is not None and self._journal.get(family, key) is None:
                if (lsn := keys.parse_lsn(key)) in self:
                    self.dropped(lsn)
            elif family in (Family.PENDING, Family.OUTBOX, Family.SEALED):
                before = self._journal.get(family, key)
                back |= set() if before is None else _named(family, key, before)
        for lsn in sorted(back):
            if lsn not in self:
                self._put_back(lsn)

    def _put_back(self, lsn: int) -> None:
        self._count += 1
        at = bisect_right(self._first, lsn)
        self._first.insert(at, lsn)
        self._last.insert(at, lsn)
        if at + 1 < len(self._first) and self._first[at + 1] == lsn + 1:
            del self._first[at + 1], self._last[at]
        if at and self._last[at - 1] == lsn - 1:
            del self._first[at], self._last[at - 1]

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


def _named(family: Family, key: bytes, value: bytes) -> set[int]:
    """The commands that an entry names."""
    return set(Open.decode(key, value).lsns) if family is Family.SEALED else {keys.parse_lsn(key)}
