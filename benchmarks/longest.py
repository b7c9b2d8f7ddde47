"""The longest step of an event loop: how long everybody else had to wait for one callback.

By the thread's processor time, for that is what a step of ours takes whoever else wants the machine; what a step waits for (a disk) is not in
it, so a step that blocks without computing shows in the wall's time only, which is told beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

LONG_MS = 25.0


@dataclass(slots=True)
class Longest:
    """Of all steps while it was looked at, in milliseconds."""

    processor: float = 0.0
    wall: float = 0.0
    what: str = ""
    """The callback that took the most processor time."""
    steps: int = 0
    long: dict[str, list[float]] = field(default_factory=dict)
    """What took more than LONG_MS of the processor: how long each."""

    def told(self) -> dict[str, object]:
        """What a benchmark's facts say of it."""
        long = {what: f"{len(took)} x, at most {max(took):.0f} ms" for what, took in self.long.items()}
        return {
            "wall ms": round(self.wall, 1),
            "steps": self.steps,
            "the longest": self.what,
            f"over {LONG_MS:.0f} ms": long,
        }


@contextmanager
def longest_step() -> Iterator[Longest]:
    """Look at every callback of this process's loops."""
    found = Longest()
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        processor, wall = time.thread_time(), time.perf_counter()
        run(handle)
        took = (time.thread_time() - processor) * 1000
        found.steps += 1
        found.wall = max(found.wall, (time.perf_counter() - wall) * 1000)
        if took > LONG_MS:
            found.long.setdefault(_name(handle), []).append(took)
        if took > found.processor:
            found.processor, found.what = took, _name(handle)

    with patch.object(asyncio.Handle, "_run", watched):
        yield found


def _name(handle: asyncio.Handle) -> str:
    """Of the coroutine whose step it is, or of the plain callback."""
    callback = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return str(getattr(task.get_coro(), "__qualname__", task))
    return str(getattr(callback, "__qualname__", callback))
