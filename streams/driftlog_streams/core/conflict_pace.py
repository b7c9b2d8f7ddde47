"""When a conflict that has grown is told again.

The record of a conflict has all its versions, so telling it with each of n writers would cost the square of n. It is told at once when it
opens, when it ends, and when its versions have doubled since it was told; else it is *owed*, and its owner tells it after a pause that grows
with what it would cost: a second for each version that was told, a minute at most. So a crowd that comes within a minute costs as many
bytes as its versions take, a few times over, and what comes more slowly no more than one record a minute.

This is about when, never about what: the record is made from the state at the moment it leaves. What is owed must not be lost with its owner:
state records that leave meanwhile say so in their headers (`groups.OWED`), so whoever owns the partition next tells it, and the owner's own store
stays before them until it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from driftlog_crdt import Place

MAX_KNOWN = 10_000
"""So many conflicts are remembered; another one is told at once when it grows."""
SECONDS_EACH, MOST_SECONDS = 1.0, 60.0

Spot: TypeAlias = tuple[bytes, Place]
"""A document's key, and the place in it."""


class Owing(NamedTuple):
    """Of one flight: its number, and that of the flight since which some conflict has been owed, 0 for none."""

    flight: int
    since: int


NOTHING_OWED = Owing(0, 0)


class Leaving(NamedTuple):
    """What a flight tells, with the number of versions, and what it leaves owed."""

    told: Mapping[Spot, int]
    over: frozenset[Spot]
    """Ended in it."""
    owed: Sequence[Spot]
    documents: frozenset[bytes]
    """Keys of those of which a conflict is owed when it has left."""


class _Debt:
    """A conflict that grew in this flight and is not told since. When it is due is known from the next look on."""

    __slots__ = ("due", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.due: float | None = None


class ConflictPace:
    """Of one partition, in one life: the next one tells once more what it meets first."""

    def __init__(self, limit: int = MAX_KNOWN) -> None:
        self._limit = limit
        self._told: dict[Spot, int] = {}
        """With how many versions each was told, the latest last."""
        self._owed: dict[Spot, _Debt] = {}
        """The oldest first."""
        self._of: Counter[bytes] = Counter()
        """How many of each document."""
        self._flight = 0

    def __len__(self) -> int:
        return len(self._owed)

    def leaving(
        self, grown: Mapping[Spot, int], due: Container[Spot], over: frozenset[Spot], documents: Iterable[bytes]
    ) -> Leaving:
        """Which of these conflicts does a flight tell? `grown` are those that have changed and those that are `due`, with the number of
        their versions, 0 where there is none any more; `over` those that ended in it, perhaps to open again; `documents` are published.
        """
        told: dict[Spot, int] = {}
        owed: list[Spot] = []
        for spot, versions in grown.items():
            known = self._told.get(spot, 0)
            at_once = versions >= 2 * known or spot in due or spot in over
            if at_once or len(self._owed) + len(owed) >= self._limit:
                told[spot] = versions
            else:
                owed.append(spot)
        new = {key for key, _ in owed}
        paid = Counter([spot[0] for spot in {*told, *over} if spot in self._owed])
        still = [key for key in documents if key in new or self._of[key] > paid[key]]
        return Leaving(told, over, owed, frozenset(still))

    def left(self, leaving: Leaving) -> Owing:
        """The flight is sealed."""
        self._flight += 1
        for spot in leaving.over:
            self._forget(spot)
        for spot, versions in leaving.told.items():
            self._forget(spot)
            if versions:
                self._told[spot] = versions
        for spot in leaving.owed:
            if spot not in self._owed:
                self._owed[spot] = _Debt(self._flight)
                self._of[spot[0]] += 1
        while len(self._told) > self._limit:
            del self._told[next(iter(self._told))]
        oldest = next(iter(self._owed.values()), None)
        return Owing(self._flight, 0 if oldest is None else oldest.since)

    def due(self, now: float) -> list[Spot]:
        """What has been owed for long enough; it stays owed until a flight has it."""
        found = []
        for spot, debt in self._owed.items():
            if debt.due is None:
                debt.due = now + min(MOST_SECONDS, SECONDS_EACH * self._told.get(spot, 0))
            if debt.due <= now:
                found.append(spot)
        return found

    def _forget(self, spot: Spot) -> None:
        self._told.pop(spot, None)
        if self._owed.pop(spot, None) is not None:
            self._of[spot[0]] -= 1
            if not self._of[spot[0]]:
                del self._of[spot[0]]
