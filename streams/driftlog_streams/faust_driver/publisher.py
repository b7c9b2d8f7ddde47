"""The producer of flights: idempotent, all replicas, one report per flight stage.

librdkafka keeps the order within a partition and retries. A stage that is not delivered within the group's session timeout fails:
a worker that was expelled cannot have messages waiting for longer than it takes the group to notice, so the window for a
frozen worker's late write is small. A longer broker outage ends the process, and the next life publishes the same again.

What arrives of a partition has no hole: behind a message that fails nothing goes out any more. librdkafka by itself would give up the one message (`message.timeout.ms`, or one that
is too large) and go on with the next, and a group whose end is there without one of its documents is whole to every reader. So its own time-out comes later than
ours, a refusal stops it (`enable.gapless.guarantee`), and whatever fails, all that is left is thrown away.

A report without an error and without an offset is no delivery. librdkafka makes one for batches that it takes for acknowledged because a later
one is (seen in its log: "implicitly acked by subsequent batch success"). But a leader that is only just made may refuse the first batch of a
producer that it does not know, and take the next one, which was on its way: then the first is in no log.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_streams.core.work import OutRecord
from driftlog_streams.telling.client_log import ERRORS_TOLD

QUEUE_MESSAGES = 200_000
LATER = 6
"""So many times our time-out is the producer's own."""

Delivered = Callable[[Mapping[tuple[str, int], int]], None]
Failed = Callable[[str], None]


class _Report:
    """What is still to be delivered of one stage."""

    __slots__ = ("error", "left", "offsets", "since")

    def __init__(self, left: int, since: float) -> None:
        self.left = left
        self.since = since
        self.offsets: dict[tuple[str, int], int] = {}
        self.error: str | None = None


class Publisher:
    """Publishes stages of flights; callbacks come on the event loop."""

    def __init__(
        self,
        kafka: KafkaSettings | str,
        timeout_seconds: float,
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._timeout = timeout_seconds
        self._monotonic = monotonic
        self._waiting: deque[_Report] = deque()
        """The stages under way, and some that are done, in the order in which they were published."""
        self._lock = threading.RLock()
        """Nothing is sent between the end and the purge."""
        self._over = ""
        """Why nothing goes out any more."""
        self._producer = Producer(
            {
                **kafka_at(kafka).client(),
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "linger.ms": 0,
                "socket.nagle.disable": True,
                "message.timeout.ms": int(timeout_seconds * 1000) * LATER,
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
            try:
                self._producer.poll(0.2)
            except KafkaException as error:  # it has stopped; what becomes of its messages is still told
                self._stop(error.args[0].str())
            while self._waiting and not self._waiting[0].left:
                self._waiting.popleft()
            if self._waiting and self._monotonic() - self._waiting[0].since >= self._timeout:
                self._stop(f"not delivered within {self._timeout:.0f} s")

    def _stop(self, why: str) -> None:
        """Nothing that is not sent goes out any more; who waits is told."""
        with self._lock:
            if not self._over:
                self._over = why
                self._producer.purge(blocking=False)

    def publish(self, records: Sequence[OutRecord], delivered: Delivered, failed: Failed) -> None:
        """Send all; `delivered` gets the last offset per (topic, partition), or `failed` the first error. Never both."""
        report = _Report(len(records), self._monotonic())
        loop = self._loop

        def ended(count: int, error: str | None) -> None:
            with self._lock:
                if error is not None and report.error is None:
                    report.error = error
                report.left -= count
                if report.left:
                    return
            if report.error is None:
                loop.call_soon_threadsafe(delivered, report.offsets)
            else:
                loop.call_soon_threadsafe(failed, report.error)

        def on_delivery(error: KafkaError | None, message: Message) -> None:  # on the poll thread
            place: Any = (message.topic(), message.partition())
            offset = message.offset()
            if error is None and offset is not None and offset >= 0:
                report.offsets[place] = offset
                ended(1, None)
                return
            fact = "reported without an offset" if error is None else error.str()
            self._stop(f"{message.topic()}[{message.partition()}]: {fact}")
            ended(1, self._over)

        self._waiting.append(report)
        for sent, record in enumerate(records):
            if not self._sent(record, on_delivery):
                ended(len(records) - sent, self._over)
                return

    def _sent(self, record: OutRecord, on_delivery: Callable[[KafkaError | None, Message], None]) -> bool:
        """Is it on its way? False when nothing goes out any more."""
        topic, partition, key, value, headers = record
        produce: Any = self._producer.produce
        while True:
            with self._lock:
                if self._over:
                    return False
                try:
                    produce(topic, value, key, partition, on_delivery, headers=headers or None)
                    return True
                except BufferError:  # the queue is full: its bound holds us back until deliveries make room
                    pass
                except KafkaException as error:  # it has stopped, and its report is still to come
                    self._stop(f"{topic}[{partition}]: {error.args[0].str()}")
                    return False
            time.sleep(0.005)

    def close(self, seconds: float = 5.0) -> None:
        """Send what is queued, for a bounded time."""
        self._producer.flush(seconds)
        self._closed = True
        self._thread.join(1.0)
