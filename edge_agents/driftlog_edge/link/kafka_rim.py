"""The agent's two Kafka clients, in threads of their own, and what they tell the loop.

The producer is idempotent and keeps trying for ever: order holds, and an outage of any length needs no decision here. Going offline
purges it; what was not delivered is sealed in the store and goes out again. The consumer reads assigned partitions from the
replica's own cursors; it belongs to no group and commits nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from driftlog_edge import ports
from driftlog_edge.link.kafka_asker import KafkaAsker
from driftlog_edge.link.kafka_history import read_history
from driftlog_edge.link.kafka_records import read_records, record_of
from driftlog_edge.link.making import making
from driftlog_edge.ports import Chunk, Record, Sealed, Unreachable
from driftlog_schemas.connection import KafkaSettings, kafka_at

log = structlog.get_logger()

POLL_SECONDS = 0.2
LEAVE_SECONDS = 5.0
"""For a client's thread to end. librdkafka waits until a time of day: whoever waits as the clock is set back waits for that much longer, unless something
comes. Such a thread is left behind, and ends with its client when it is woken."""
FETCH_BATCH = 500
AHEAD_SECONDS = 5
LEAST_FETCHED, MOST_FETCHED = 16 * 1024, 1 << 20
"""Bytes that are asked for at once, where there is a budget. A record that is larger comes all the same."""
FETCHED_KIB = 4 * 1024
"""What was fetched and not read yet, where there is none: some fetches ahead. The client's own bound is 64 MiB, which an agent that catches up fills."""


class KafkaRoute:
    """`ports.Route` to one cluster."""

    def __init__(self, kafka: KafkaSettings | str, budget: Callable[[], int] = lambda: 0) -> None:
        """`budget` says how many bytes a second may be fetched; 0 is any number."""
        self._kafka = kafka_at(kafka)
        self._budget = budget
        self._asker: KafkaAsker | None = None
        """One for all connections: such a client is not let go lightly."""

    def ship(
        self,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> ports.Shipping:
        return Shipping(self._kafka, loop, delivered, trouble)

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[tuple[str, int], int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> ports.Feed:
        return Feed(self._kafka, positions, loop, arrived, trouble, self._budget())

    def ask(self) -> ports.Asker:
        if self._asker is None:
            self._asker = KafkaAsker(self._kafka)
        return self._asker

    def rest(self) -> None:
        if self._asker is not None and self._asker.leave():
            self._asker = None

    def deliver(self, topic: str, key: bytes, value: bytes, seconds: float) -> None:
        told: list[str | None] = []
        with making():
            producer = Producer(
                {**self._kafka.client(), "acks": "all", "message.timeout.ms": int(seconds * 1000), "log_level": 0}
            )
        try:
            producer.produce(
                topic, value, key, 0, on_delivery=lambda error, _: told.append(None if error is None else str(error))
            )
        except (KafkaException, BufferError) as error:
            raise Unreachable(f"the client takes no record: {error}") from error
        producer.flush(seconds + 1)
        if told != [None]:
            raise Unreachable(f"the broker does not take the record: {told[0] if told else 'no answer'}")

    def records(
        self, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
    ) -> dict[bytes, Record]:
        return read_records(self._kafka, topic, partition, wanted, end, seconds)

    def history(self, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float) -> list[bytes]:
        return read_history(self._kafka, topic, partition, key, start, end, seconds)


class Shipping:
    """Produces sealed batches; `delivered(batch, error)` is called on the loop for each."""

    def __init__(
        self,
        kafka: KafkaSettings,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._delivered = delivered
        self._stop = stop = threading.Event()
        # What a client calls must not hold what holds the client.
        with making():
            self._producer = Producer(
                {
                    **kafka.client(),
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "zstd",
                    "linger.ms": 0,
                    "socket.nagle.disable": True,
                    "message.timeout.ms": 0,
                    "reconnect.backoff.max.ms": 5000,
                    "socket.keepalive.enable": True,
                    "topic.metadata.refresh.interval.ms": 60_000,
                    "log_level": 0,
                    "error_cb": lambda error: None if stop.is_set() else _told(loop, trouble),
                }
            )
        self._thread = threading.Thread(target=self._poll, name="driftlog-ship", daemon=True)
        self._thread.start()

    def send(self, batch: Sealed) -> None:
        """Hand over one batch. The caller bounds how many are on their way."""

        def report(error: KafkaError | None, message: Message) -> None:
            found = message.offset()
            kind, append_ms = message.timestamp()
            placed = batch._replace(
                offset=-1 if found is None else max(-1, found),
                append_ms=append_ms if kind == TIMESTAMP_LOG_APPEND_TIME else 0,
            )
            _told(self._loop, lambda: self._delivered(placed, None if error is None else str(error)))

        self._produce(batch.topic, batch.partition, batch.key, batch.value, report)

    def tell(self, topic: str, key: bytes, value: bytes, done: Callable[[], None]) -> None:
        """Hand over a record that nothing depends on."""

        def report(error: KafkaError | None, message: Message) -> None:
            _told(self._loop, done)

        self._produce(topic, 0, key, value, report)

    def _produce(
        self, topic: str, partition: int, key: bytes, value: bytes, report: Callable[[KafkaError | None, Message], None]
    ) -> None:
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=report)
        except (KafkaException, BufferError, RuntimeError) as error:  # the last: it is closed
            raise Unreachable(f"the client takes no record: {error}") from error

    def _poll(self) -> None:
        try:
            while not self._stop.is_set():
                self._producer.poll(POLL_SECONDS)
        finally:  # until it is closed it stays connected, with threads of its own
            self._producer.purge()
            self._producer.close()

    def close(self, seconds: float = 0.0) -> None:
        """Give what is on its way `seconds` to arrive, then drop it, and leave the network."""
        if seconds:
            self._producer.flush(seconds)
        self._stop.set()
        _end(self._thread)


class Feed:
    """Consumes assigned partitions; `arrived(chunks)` runs on the loop, and the next poll waits until it is done."""

    def __init__(
        self,
        kafka: KafkaSettings,
        positions: Mapping[tuple[str, int], int],
        loop: asyncio.AbstractEventLoop,
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
        budget: int = 0,
    ) -> None:
        self._loop = loop
        self._arrived = arrived
        self._positions = positions
        self._stop = stop = threading.Event()
        with making():
            self._consumer = Consumer(
                {
                    **kafka.reader(),
                    **_ahead(budget),
                    "group.id": "driftlog-edge",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "reconnect.backoff.max.ms": 5000,
                    "allow.auto.create.topics": False,
                    "log_level": 0,
                    "error_cb": lambda error: None if stop.is_set() else _told(loop, trouble),
                }
            )
        self._thread = threading.Thread(target=self._run, name="driftlog-pull", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._consumer.assign(
                [TopicPartition(t, p, at or OFFSET_BEGINNING) for (t, p), at in self._positions.items()]
            )
            while not self._stop.is_set():
                chunks = self._next()
                if not chunks or self._stop.is_set():
                    continue
                future = asyncio.run_coroutine_threadsafe(self._arrived(chunks), self._loop)
                while not self._stop.is_set():
                    with suppress(TimeoutError):
                        future.result(POLL_SECONDS)
                        break
        finally:
            self._consumer.close()

    def _next(self) -> list[Chunk]:
        message = self._consumer.poll(POLL_SECONDS)
        if message is None:
            return []
        # poll() waits for the first record only; what else has arrived is taken along without waiting.
        gathered: dict[tuple[str, int], tuple[list[Record], list[bool]]] = {}
        lost: set[tuple[str, int]] = set()
        for found in [message, *self._consumer.consume(FETCH_BATCH, 0)]:
            error = found.error()
            place = (str(found.topic()), cast(int, found.partition()))
            if error is None:
                gathered.setdefault(place, ([], []))[0].append(record_of(found))
            elif error.code() == KafkaError._PARTITION_EOF:
                gathered.setdefault(place, ([], []))[1].append(True)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                lost.add(place)
            else:
                log.warning("cannot read", topic=place[0], partition=place[1], error=str(error))
        chunks = [Chunk(t, p, records, bool(ends)) for (t, p), (records, ends) in gathered.items()]
        return [*chunks, *(Chunk(*place, [], at_end=False, lost=True) for place in sorted(lost))]

    def close(self) -> None:
        self._stop.set()
        _end(self._thread)


def _end(thread: threading.Thread) -> None:
    thread.join(LEAVE_SECONDS)
    if thread.is_alive():
        log.warning("a client's thread does not end and is left behind: was the clock set back?", thread=thread.name)


def _ahead(budget: int) -> dict[str, int]:
    """No more is fetched ahead than a budget allows in a few seconds: the client would fill its queue at whatever pace the link has."""
    if not budget:
        return {"queued.max.messages.kbytes": FETCHED_KIB}
    size = max(LEAST_FETCHED, min(budget * AHEAD_SECONDS, MOST_FETCHED))
    return {
        "message.max.bytes": size,  # a client that fetches fewer is not made
        "fetch.max.bytes": size,
        "max.partition.fetch.bytes": size,
        "queued.max.messages.kbytes": max(1, size // 1024),
    }


def _told(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended before the client's thread
        loop.call_soon_threadsafe(call)
