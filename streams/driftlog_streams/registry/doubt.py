"""Which refusals may be believed without asking: noise must not cost a broker round trip each, and no honest newcomer a wrong refusal.

A batch of an unknown device or key may simply be newer than what is known of the registry. Asked for the registry's present end
*after* a batch was in the log, the view is decisive for it. One question settles every record that was in the log then, and the consumer
knows how far that is without asking: so however many records of strangers wait, they cost one question together, and never more
than a few in a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping

APART_SECONDS = 0.25


class Doubts:
    """`catch_up` reads the registry to its present end, and blocks."""

    def __init__(self, catch_up: Callable[[], None], apart_seconds: float = APART_SECONDS) -> None:
        self._catch_up = catch_up
        self._apart = apart_seconds
        self._asked_at = -apart_seconds
        self._settled: Mapping[Hashable, int] = {}

    def settled(self, place: Hashable, offset: int) -> bool:
        """Was the record in the log when the registry was last asked?"""
        return offset < self._settled.get(place, 0)

    async def settle(self, ends: Callable[[], Mapping[Hashable, int]]) -> None:
        """Ask, for everything that is in the log by now: `ends` tells how far that is known. Raises what `catch_up` raises."""
        await asyncio.sleep(max(0.0, self._asked_at + self._apart - time.monotonic()))
        found = ends()
        self._asked_at = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, self._catch_up)
        self._settled = found

    def forget(self) -> None:
        """The partitions belong to somebody else now."""
        self._settled = {}
