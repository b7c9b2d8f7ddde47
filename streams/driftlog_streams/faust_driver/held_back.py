"""Records whose schema must be asked for: their partition waits for the answer, all others go on.

A schema id that is not known here stands in the first records of a newer release, or in noise. Asking takes seconds where the registry
is away, so it is done off the event loop, one question after the other; what comes behind such a record in its partition is
kept in order until it is answered. What is not in the registry's memory by then is decided as unknown, like everything else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from faust.types import TP

from driftlog_schemas.batch_codec import BatchCodec
from driftlog_streams.core.net import FATAL

log = structlog.get_logger()


class HeldBack:
    """`go_on` merges a record for which nothing must be asked; `failed` is told what it raises."""

    def __init__(
        self, batches: BatchCodec, go_on: Callable[[Any], Awaitable[None]], failed: Callable[[Exception], Any]
    ) -> None:
        self._batches = batches
        self._go_on = go_on
        self._failed = failed
        self._waiting: dict[TP, deque[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) if self._waiting else 0

    def take(self, event: Any) -> bool:
        """Must this record wait? Then it is merged later."""
        tp = event.message.tp
        waiting = self._waiting.get(tp)
        if waiting is not None:
            waiting.append(event)
            return True
        if not self._batches.must_ask(event.message.value):
            return False
        waiting = self._waiting[tp] = deque([event])
        task = asyncio.get_running_loop().create_task(self._answer(tp, waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def forget(self) -> None:
        """The partitions belong to somebody else now."""
        self._waiting.clear()

    async def _answer(self, tp: TP, waiting: deque[Any]) -> None:
        try:
            while waiting and self._waiting.get(tp) is waiting:
                async with self._asking:
                    value = waiting[0].message.value
                    if self._batches.must_ask(value):  # another partition may have had the same
                        await asyncio.get_running_loop().run_in_executor(None, self._learn, value)
                if self._waiting.get(tp) is waiting:
                    await self._go_on(waiting.popleft())
            if self._waiting.get(tp) is waiting:
                del self._waiting[tp]
        except Exception as error:  # noqa: BLE001  # what a task raises the loop only logs
            self._failed(error)

    def _learn(self, value: bytes) -> None:
        try:
            self._batches.open(value)
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # the record's own: it is met again when that is admitted
            log.info("a schema was asked for", error=f"{type(error).__name__} {error}"[:500])
