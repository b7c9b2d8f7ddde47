"""Connecting to a broker that is away, with a growing pause.

aiokafka's client has no backoff of its own: each of its loops (fetcher, coordinator, heartbeat, commit, metadata) asks for a connection ten
times a second for as long as an outage lasts, and each time one is tried. With a broker whose port takes a connection and closes it, as a
proxy before a dead one does, that is 75 connections a second. Here a node that did not answer is left alone for a
pause that doubles; whoever asks meanwhile waits. The first success ends it.

Who waits asks for the node anew when the pause is over, so one of them tries and the others wait on: an outage costs one attempt a pause,
however many loops there are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 2.0
"""A broker that is back is met after this time at the latest."""

Connect = Callable[..., Awaitable[Any]]
"""`AIOKafkaClient._get_conn`: the connection to a node, or None if there is none."""


class Reconnecting:
    """Stands before a client's `connect`. Each of a node's connections has pauses of its own."""

    def __init__(
        self,
        connect: Connect,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._sleep = sleep
        self._pauses: dict[Hashable, float] = {}
        """Node -> how long it is left alone after the next failure, of those that did not answer."""
        self._not_before: dict[Hashable, float] = {}

    async def __call__(self, node_id: Hashable, **options: Any) -> Any:
        """The connection to a node, or None."""
        node = node_id, options.get("group")
        while (left := self._not_before.get(node, 0.0) - self._monotonic()) > 0:
            await self._sleep(left)
        if node in self._pauses:
            self._leave_alone(node)  # before it is tried, so that whoever waits too does not try beside us
        connection = await self._connect(node_id, **options)
        if connection is not None:
            self._pauses.pop(node, None)
            self._not_before.pop(node, None)
        elif node not in self._pauses:
            self._pauses[node] = FIRST_SECONDS
            self._leave_alone(node)
        return connection

    def _leave_alone(self, node: Hashable) -> None:
        pause = self._pauses[node]
        self._not_before[node] = self._monotonic() + pause
        self._pauses[node] = min(LONGEST_SECONDS, pause * 2)


def pausing(client: Any) -> None:
    """Give a client of aiokafka the pauses that it lacks."""
    client._get_conn = Reconnecting(client._get_conn)
