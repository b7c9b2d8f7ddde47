"""Batches that the log is not known to have: those that go out again, and the commands of them all.

They go out again partitions by turns, in order of number within each. A partition may have thousands of them (weeks without a worker), another a
single one: the one does not wait for the thousands.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Container, Iterable
from typing import TypeAlias

BatchPlace: TypeAlias = tuple[str, int, int]
"""(space, partition, number)"""


class Resends:
    """A queue of batch places without doubles."""

    def __init__(self, places: Iterable[BatchPlace] = ()) -> None:
        self._numbers: dict[tuple[str, int], list[int]] = {}
        """In the order of turns."""
        for place in places:
            self.add(place)

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, tuple):
            return False
        numbers = self._numbers.get(place[:2], [])
        at = bisect_left(numbers, place[2])
        return at < len(numbers) and numbers[at] == place[2]

    @property
    def partitions(self) -> Collection[tuple[str, int]]:
        """(space, partition) of those that have some."""
        return self._numbers.keys()

    def add(self, place: BatchPlace) -> None:
        if place not in self:
            insort(self._numbers.setdefault(place[:2], []), place[2])

    def discard(self, place: BatchPlace) -> None:
        if place in self:
            numbers = self._numbers[place[:2]]
            del numbers[bisect_left(numbers, place[2])]
            if not numbers:
                del self._numbers[place[:2]]

    def forget(self, space: str, partition: int) -> None:
        """All of a partition."""
        self._numbers.pop((space, partition), None)

    def take(self, apart_from: Container[tuple[str, int]] = ()) -> BatchPlace | None:
        """The next one, out of the queue, of no such partition; its partition's turn comes again after the others'."""
        partition = next((one for one in self._numbers if one not in apart_from), None)
        if partition is None:
            return None
        numbers = self._numbers.pop(partition)
        number = numbers.pop(0)
        if numbers:
            self._numbers[partition] = numbers
        return (*partition, number)


class Carried:
    """The commands of sealed batches that the log is not known to have. Every status of a command asks, so it is not searched for."""

    def __init__(self, batches: Iterable[tuple[BatchPlace, tuple[int, ...]]] = ()) -> None:
        self._batches: dict[BatchPlace, tuple[int, ...]] = {}
        self._lsns: set[int] = set()
        for place, lsns in batches:
            self.put(place, lsns)

    def __contains__(self, lsn: object) -> bool:
        return lsn in self._lsns

    def put(self, place: BatchPlace, lsns: tuple[int, ...]) -> None:
        """The batch of this place, whatever was known of it before: what a failed write took back is sealed anew under its number."""
        self.drop(place)
        self._batches[place] = lsns
        self._lsns.update(lsns)

    def drop(self, place: BatchPlace) -> None:
        """The log has it, or it never was."""
        self._lsns.difference_update(self._batches.pop(place, ()))

    def forget(self, space: str, partition: int) -> None:
        """All of a partition."""
        for place in [place for place in self._batches if place[:2] == (space, partition)]:
            self.drop(place)
