"""Long work on the loop, cut into turns: it stops after every few steps, and whoever wants to be answered runs in between.

What such work rests on must not move under it (see `Committer.turn`), unless each turn looks for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


async def in_turns(work: Generator[None, None, T]) -> T:
    """Do it to its end; between that and the caller nobody runs."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
