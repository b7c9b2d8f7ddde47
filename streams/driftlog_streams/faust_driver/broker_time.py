"""The broker's time, which alone decides what is late: told by the append times of records, and made to tell where nobody writes.

Between two answers this process's monotonic clock goes on from the last one, only to know when asking is worth it: it decides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from driftlog_schemas import topics
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.topics import Topic
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.reading.past_reader import PastReader

log = structlog.get_logger()

PASSING_SECONDS = 5.0
"""So long the broker may take to tell the time; then what it told before is taken."""


def pass_time(publisher: Publisher, then: Callable[[], None] = lambda: None) -> None:
    """Where nobody writes, no record tells the time: so one without a meaning is written beside the heartbeats."""

    def failed(error: str) -> None:
        log.warning("the broker's time cannot be had", error=error)
        then()

    record = OutRecord(topics.HEARTBEATS, 0, CLOUD.encode(), None)
    publisher.publish([record], lambda offsets: then(), failed)


def tell_the_time(heartbeats: Topic | None) -> bool:
    """Are the times of these records the broker's? Those that their writers gave are not to be believed."""
    return heartbeats is not None and heartbeats.settings.get(topics.TIMES) == topics.APPEND_TIME


class BrokerTime:
    """As one worker asks for it."""

    def __init__(
        self,
        past: PastReader,
        admin: TopicsAdmin,
        publisher: Publisher,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._past = past
        self._admin = admin
        self._publisher = publisher
        self._monotonic = monotonic
        self._told: tuple[int, float] | None = None
        """The last answer of a broker that tells the time when asked, and when that was by our own clock."""

    def may_be(self, moment_ms: int) -> bool:
        """Is it worth asking whether this time has come?"""
        if self._told is None:
            return True
        told_ms, at = self._told
        return told_ms + 1000 * (self._monotonic() - at) >= moment_ms

    async def now(self, partitions: Iterable[int]) -> int:
        """The time of the newest record in these op logs and among the heartbeats; -1 for none. Raises KafkaException."""
        passed = asyncio.Event()
        pass_time(self._publisher, passed.set)
        try:
            async with asyncio.timeout(PASSING_SECONDS):
                await passed.wait()
        except TimeoutError:
            log.warning("the broker does not tell the time")
        return await asyncio.get_running_loop().run_in_executor(None, self._asked, list(partitions))

    def _asked(self, partitions: list[int]) -> int:
        timed = tell_the_time(self._admin.existing([topics.HEARTBEATS]).get(topics.HEARTBEATS))
        now_ms = self._past.now(partitions, heartbeats=timed)
        self._told = (now_ms, self._monotonic()) if timed else None
        return now_ms
