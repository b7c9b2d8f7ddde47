"""A topic of the space that is deleted and made again under a worker that runs.

Its client does not say so: it goes on waiting at the offset where it was, and what the new topic has before that is passed over. Only the topic's id
tells. So it is asked for now and then, and the worker ends; what there is to do is found out where the next process takes the partitions over (`recovery`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import structlog
from confluent_kafka import KafkaException

from driftlog_streams.errors import TopicReplaced
from driftlog_streams.telling.trouble import Trouble

log = structlog.get_logger()

LOOK_SECONDS = 5.0

Lives: TypeAlias = tuple[str, str]
"""Of the changelogs, and of the op topic"""


class TopicWatch:
    """`known` is what was found when partitions were taken over, None before; `ask` blocks, and raises KafkaException."""

    def __init__(self, known: Callable[[], Lives | None], ask: Callable[[], Lives]) -> None:
        self._known, self._ask = known, ask
        self._trouble = Trouble(log, "whether topics were made anew cannot be asked now")

    async def run(self) -> None:
        """Until cancelled. Raises `TopicReplaced`."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask once. Raises `TopicReplaced`."""
        known = self._known()
        if known is None:
            return
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, self._ask)
        except (KafkaException, TimeoutError) as error:  # away, or deleted and not made again: the next look tells
            self._trouble.met(error)
            return
        self._trouble.over()
        if found != known and self._known() == known:
            what = "the op topic" if found[1] != known[1] else "a topic of states, receipts or conflicts"
            raise TopicReplaced(
                f"{what} was deleted and made again", "the next process says what is to be done, if anything"
            )
