"""What a salvage found, and what it did not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

NAMED = 1000
"""Documents that are named; all are counted."""


@dataclass(slots=True)
class Report:
    """Of one folder."""

    decided: int = 0
    """Commands that the cloud is known to have decided: their answers are kept."""
    undecided: int = 0
    """Commands that go out under the new life, unless the cloud turns out to have them."""
    review: int = 0
    """Commands that wait for a person."""
    lost: list[tuple[int, int]] = field(default_factory=list)
    """Numbers of commands that cannot be read, as runs (first, last)."""
    unknown: list[tuple[int, int]] = field(default_factory=list)
    """Numbers below all that can be read, where an undamaged folder would have more: each was decided, or is lost, and nothing says which."""
    newest: int = 0
    """The highest number that anything speaks of. What came after it nobody can know."""
    rows: int = 0
    """Documents that were brought over as the cloud last told them; all are read again from it."""
    refetched: list[str] = field(default_factory=list)
    """Documents whose rows cannot be read; the cloud has them."""
    refetched_count: int = 0
    troubles: list[str] = field(default_factory=list)
    """What could not be read, in words."""

    @property
    def lost_count(self) -> int:
        return _count(self.lost)

    @property
    def unknown_count(self) -> int:
        return _count(self.unknown)

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "decided": self.decided,
            "undecided": self.undecided,
            "review": self.review,
            "lost": _named(self.lost),
            "lost_count": self.lost_count,
            "unknown": _named(self.unknown),
            "unknown_count": self.unknown_count,
            "newest": self.newest,
            "rows": self.rows,
            "refetched": self.refetched,
            "refetched_count": self.refetched_count,
            "troubles": self.troubles,
        }


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbours as one, in order."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def gaps(numbers: Iterable[int], stop: int) -> list[tuple[int, int]]:
    """From 1 to before `stop` what is not among the numbers, as (first, last); there may be millions of them."""
    bounds = [0, *sorted({number for number in numbers if 0 < number < stop}), stop]
    return [(before + 1, after - 1) for before, after in pairwise(bounds) if after - before > 1]


def _count(runs: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in runs)


def _named(runs: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"first": first, "last": last} for first, last in runs]
