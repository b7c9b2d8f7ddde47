"""The producer of flights: idempotent, all replicas, one report per flight stage.

librdkafka keeps the order within a partition and retries within `message.timeout.ms`. That timeout is the group's session timeout:
a worker that was expelled cannot have messages waiting for longer than it takes the group to notice, so the window for a
frozen worker's late write is small. A longer broker outage ends the process, and the next life publishes the same again.

A report without an error and without an offset is no delivery. librdkafka makes one for batches that it takes for acknowledged because a later
one is (seen in its log: "implicitly acked by subsequent batch success"). But a leader that is only just made may refuse the first batch of a
producer that it does not know, and take the next one, which was on its way: then the first is in no log.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_streams.core.work import OutRecord
from driftlog_streams.telling.client_log import ERRORS_TOLD

QUEUE_MESSAGES = 200_000

Delivered = Callable[[Mapping[tuple[str, int], int]], None]
Failed = Callable[[str], None]


class _Report:
    """What is still to be delivered of one stage."""

    __slots__ = ("error", "left", "offsets")

    def __init__(self, left: int) -> None:
        self.left = left
        self.offsets: dict[tuple[str, int], int] = {}
        self.error: str | None = None


class Publisher:
    """Publishes stages of flights; callbacks come on the event loop."""

    def __init__(self, kafka: KafkaSettings | str, timeout_seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._producer = Producer(
            {
                **kafka_at(kafka).client(),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "socket.nagle.disable": True,
                "message.timeout.ms": int(timeout_seconds * 1000),
                "reconnect.backoff.max.ms": 1000,
                "queue.buffering.max.messages": QUEUE_MESSAGES,
                "queue.buffering.max.kbytes": 512 * 1024,
                "batch.num.messages": 20_000,
                "message.max.bytes": 1 << 20,
                "compression.type": "zstd",
                **ERRORS_TOLD,
            }
        )
        self._closed = False
        self._thread = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._closed:
            self._producer.poll(0.2)

    def publish(self, records: Sequence[OutRecord], delivered: Delivered, failed: Failed) -> None:
        """Send all; `delivered` gets the last offset per (topic, partition), or `failed` the first error. Never both."""
        report = _Report(len(records))
        loop = self._loop

        def on_delivery(error: KafkaError | None, message: Message) -> None:  # on the poll thread
            place: Any = (message.topic(), message.partition())
            offset = message.offset()
            if error is None and offset is not None and offset >= 0:
                report.offsets[place] = offset
            elif report.error is None:
                fact = "reported without an offset" if error is None else error.str()
                report.error = f"{message.topic()}[{message.partition()}]: {fact}"
            report.left -= 1
            if report.left == 0:
                if report.error is None:
                    loop.call_soon_threadsafe(delivered, report.offsets)
                else:
                    loop.call_soon_threadsafe(failed, report.error)

        produce: Any = self._producer.produce
        for topic, partition, key, value, headers in records:
            while True:
                try:
                    produce(topic, value, key, partition, on_delivery, headers=headers or None)
                    break
                except BufferError:  # the queue is full: its bound holds us back until deliveries make room
                    time.sleep(0.005)

    def close(self, seconds: float = 5.0) -> None:
        """Send what is queued, for a bounded time."""
        self._producer.flush(seconds)
        self._closed = True
        self._thread.join(1.0)
