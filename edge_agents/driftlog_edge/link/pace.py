"""How soon the next new life of a partition may begin.

A life that is over before the cloud has taken anything of it was drawn in vain, and the next may be as well: where what is read here is older than
what the cloud has forgotten, for whatever reason, each of them would be refused in turn. So after such a one the next waits, ever longer. A life under
which something was taken ends that; so does a restart, for somebody may have mended the cause.
"""

from __future__ import annotations

import random

from driftlog_edge.link.connectivity import backoff

FIRST_SECONDS = 1.0


class Pace:
    """Of one agent. Times are seconds of its loop."""

    def __init__(self) -> None:
        self._in_vain: dict[tuple[str, int], int] = {}
        self._not_before: dict[tuple[str, int], float] = {}

    def began(self, place: tuple[str, int], *, in_vain: bool, now: float) -> None:
        """A new life has begun there; was the one before it drawn in vain?"""
        if not in_vain:
            self._in_vain.pop(place, None)
            self._not_before.pop(place, None)
            return
        self._in_vain[place] = self._in_vain.get(place, 0) + 1
        self._not_before[place] = now + backoff(self._in_vain[place], random.random, FIRST_SECONDS)

    def wait(self, place: tuple[str, int], now: float) -> float:
        """For how many seconds the next one waits."""
        return max(0.0, self._not_before.get(place, now) - now)

    def in_vain(self, place: tuple[str, int]) -> int:
        """How many were drawn in vain, one after the other."""
        return self._in_vain.get(place, 0)
