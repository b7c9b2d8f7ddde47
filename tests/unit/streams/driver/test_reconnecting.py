"""Attempts to connect to a broker that is away, counted on a clock of the test's own."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from driftlog_streams.faust_driver.reconnecting import FIRST_SECONDS, LONGEST_SECONDS, Reconnecting

NODE = 1
LOOPS = 8
RETRY_SECONDS = 0.1
"""aiokafka's, in each of its loops."""
OUTAGE_SECONDS = 60.0


class Clock:
    """Time that passes when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._number), woken))
        await woken

    async def pass_until(self, end: float) -> None:
        while True:
            for _ in range(4):  # whoever was woken goes on to his next sleep
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > end:
                self.now = end
                return
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.cancelled():
                woken.set_result(None)


class Broker:
    """`_get_conn` of a client."""

    def __init__(self, *, up: bool) -> None:
        self.up = up
        self.asked = 0

    async def connect(self, node: int, **options: Any) -> object | None:
        self.asked += 1
        return self if self.up else None


def lived(story: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(Clock()))


def test_an_outage_costs_one_attempt_a_pause_however_many_loops_there_are() -> None:
    async def story(clock: Clock) -> None:
        broker = Broker(up=False)
        connect = Reconnecting(broker.connect, clock.monotonic, clock.sleep)

        async def ask_on() -> None:
            while await connect(NODE) is None:
                await clock.sleep(RETRY_SECONDS)

        loops = [asyncio.create_task(ask_on()) for _ in range(LOOPS)]
        await clock.pass_until(OUTAGE_SECONDS)
        doubling = 5  # 0.1, 0.2, 0.4, 0.8, 1.6
        assert broker.asked <= LOOPS + doubling + OUTAGE_SECONDS / LONGEST_SECONDS

        broker.up = True
        await clock.pass_until(OUTAGE_SECONDS + LONGEST_SECONDS + RETRY_SECONDS)
        assert all(loop.done() for loop in loops), "whoever waited has the connection as soon as one had it"

    lived(story)


def test_a_connection_that_is_lost_once_is_made_again_at_once() -> None:
    async def story(clock: Clock) -> None:
        broker = Broker(up=True)
        connect = Reconnecting(broker.connect, clock.monotonic, clock.sleep)
        for _ in range(3):
            assert await connect(NODE) is broker
        assert clock.now == 0.0

    lived(story)


def test_after_a_success_the_next_outage_begins_with_the_shortest_pause() -> None:
    async def story(clock: Clock) -> None:
        broker = Broker(up=False)
        connect = Reconnecting(broker.connect, clock.monotonic, clock.sleep)
        for up in (False, False, False, True, False):
            broker.up = up
            asked = asyncio.create_task(connect(NODE))
            await clock.pass_until(clock.now + LONGEST_SECONDS)
            assert asked.done()
        broker.up = True
        asked = asyncio.create_task(connect(NODE))
        await clock.pass_until(clock.now + FIRST_SECONDS)
        assert asked.done()

    lived(story)


def test_another_node_is_not_held_up() -> None:
    async def story(clock: Clock) -> None:
        away = Reconnecting(Broker(up=False).connect, clock.monotonic, clock.sleep)
        assert await away(NODE) is None
        assert await away(NODE + 1) is None
        assert clock.now == 0.0

    lived(story)
