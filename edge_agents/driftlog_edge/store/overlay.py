"""Writes that are not in the store yet, in key order: what a scan lays over the store.

Thousands of keys may wait while a scan wants a handful, so a look costs what it finds and not what waits. A family's keys stand sorted in
one list; few new ones are put into their places, many are sorted in at once, and those that are written leave together.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator

from driftlog_edge.ports import Family, Place, Writes

FEW = 32
"""Up to this many keys are put in one by one: a place in a sorted list is found quickly, and making room for it is a copy."""


class Overlay:
    """The newest waiting value of each key, with the serial of the write set that brought it."""

    def __init__(self) -> None:
        self._values: dict[Place, tuple[bytes | None, int]] = {}
        self._order: dict[Family, list[bytes]] = {family: [] for family in Family}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, place: Place) -> tuple[bytes | None, int] | None:
        """(value or None for a deletion, serial); None where nothing waits."""
        return self._values.get(place)

    def put(self, writes: Writes, serial: int) -> None:
        """A write set begins to wait."""
        values, order = self._values, self._order
        few = len(writes) <= FEW
        unsorted = set()
        for place, value in writes.items():
            if place not in values:
                family, key = place
                if few:
                    insort(order[family], key)
                else:
                    order[family].append(key)
                    unsorted.add(family)
            values[place] = (value, serial)
        for family in unsorted:
            order[family].sort()

    def drop(self, writes: Writes, serial: int) -> set[Family]:
        """A write set is in the store; what no later one covers goes. Then `tidy` the families it tells."""
        values, families = self._values, set()
        for place in writes:
            known = values.get(place)
            if known is not None and known[1] == serial:
                del values[place]
                families.add(place[0])
        return families

    def tidy(self, families: set[Family]) -> None:
        """Take the keys that are gone out of the order, all at once."""
        for family in families:
            self._order[family] = [key for key in self._order[family] if (family, key) in self._values]

    def keys(self, family: Family, prefix: bytes, after: bytes) -> list[bytes]:
        """Keys that begin with `prefix` and are greater than `after`, in order."""
        order = self._order[family]
        start = bisect_right(order, after) if after >= prefix and after else bisect_left(order, prefix)
        end = _beyond(prefix)
        return order[start : len(order) if end is None else bisect_left(order, end)]

    def clear(self) -> dict[Place, bytes | None]:
        """All of it was given up; what it was."""
        given_up = {place: value for place, (value, _) in self._values.items()}
        self._values.clear()
        for order in self._order.values():
            order.clear()
        return given_up


def laid_over(
    over: list[bytes], below: Iterator[tuple[bytes, bytes]], value_of: Callable[[bytes], bytes | None]
) -> Iterator[tuple[bytes, bytes]]:
    """What a scan of the store gives, with these keys as `value_of` has them: other values, new ones, and some gone. All in order."""
    position = 0
    for key, value in below:
        while position < len(over) and over[position] < key:
            yield from _present(over[position], value_of)
            position += 1
        if position < len(over) and over[position] == key:
            yield from _present(key, value_of)
            position += 1
        else:
            yield key, value
    for key in over[position:]:
        yield from _present(key, value_of)


def _present(key: bytes, value_of: Callable[[bytes], bytes | None]) -> Iterator[tuple[bytes, bytes]]:
    value = value_of(key)
    if value is not None:
        yield key, value


def _beyond(prefix: bytes) -> bytes | None:
    """The least key that is greater than all with this prefix; None where there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes((head[-1] + 1,)) if head else None
