"""Stand-ins for confluent's classes over a `Broker`: the same calls, the same answers, the same defaults where they matter.

A setting that is left out has librdkafka's default, so that a rim which forgets one behaves as it would in production: a producer is not
idempotent, a consumer commits by itself, no partition's end is told.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from tests.fake_kafka.broker import Broker, Headers, Partition, Stored

Report = Callable[[KafkaError | None, "Message"], None]


class Message:
    """`confluent_kafka.Message`."""

    def __init__(self, topic: str, partition: int, record: Stored | None, error: KafkaError | None, at: int) -> None:
        self._place = (topic, partition)
        self._record = record
        self._error = error
        self._at = at

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._at

    def key(self) -> bytes | None:
        return self._record.key if self._record else None

    def value(self) -> bytes | None:
        return self._record.value if self._record else None

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        if self._record is not None and not self._record.readable:
            raise SystemError("<method 'headers'> returned a result with an exception set")
        return list(self._record.headers) or None if self._record else None

    def timestamp(self) -> tuple[int, int]:
        return (TIMESTAMP_LOG_APPEND_TIME, self._record.timestamp_ms if self._record else -1)

    def error(self) -> KafkaError | None:
        return self._error


class _Waiting(NamedTuple):
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    since_ms: int
    sequence: int
    report: Report | None


class Producer:
    """`confluent_kafka.Producer`. What is queued goes out by itself; what became of it is told to whoever polls or flushes."""

    def __init__(self, broker: Broker, config: Mapping[str, Any]) -> None:
        self._broker = broker
        self.config = dict(config)
        self._idempotent = bool(config.get("enable.idempotence", False))
        self._all = str(config.get("acks", "all")) in ("all", "-1")
        if self._idempotent and not self._all:
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG, "`acks` must be `all` with `enable.idempotence`"))
        self._timeout_ms = int(config.get("message.timeout.ms", 300_000))
        self._limit = int(config.get("queue.buffering.max.messages", 100_000))
        self._id = broker.new_producer(self._send)
        self._sequence = 0
        self._queue: deque[_Waiting] = deque()
        self._reports: list[tuple[Report | None, KafkaError | None, Message]] = []

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Report | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        with self._broker.moved:
            if len(self) >= self._limit:  # librdkafka counts what is not reported yet, too
                raise BufferError("Local: Queue full")
            self._sequence += 1
            self._queue.append(
                _Waiting(topic, partition, key, value, headers or (), self._broker.now_ms, self._sequence, on_delivery)
            )
            self._send()
            self._broker.moved.notify_all()

    def poll(self, timeout: float = -1) -> int:
        with self._broker.moved:
            if not self._reports:
                self._broker.moved.wait(min(timeout, 0.05) if timeout >= 0 else 0.05)
            done, self._reports = self._reports, []
        for report, error, message in done:
            if report is not None:
                report(error, message)
        return len(done)

    def flush(self, timeout: float = -1) -> int:
        end = time.monotonic() + timeout
        while len(self) and time.monotonic() < end:
            self.poll(0.01)
        return len(self)

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        with self._broker.moved:
            self._reports += [self._failed(w, KafkaError(KafkaError._PURGE_QUEUE)) for w in self._queue]
            self._queue.clear()
            self._broker.moved.notify_all()

    def close(self) -> bool:
        while len(self):  # as the client does, without an end: what waits for a broker is to be purged before
            self.poll(0.01)
        return True

    def __len__(self) -> int:
        return len(self._queue) + len(self._reports)

    def _send(self) -> None:
        """With the broker's lock held."""
        broker = self._broker
        while self._queue:
            waiting = self._queue[0]
            if self._timeout_ms and broker.now_ms - waiting.since_ms >= self._timeout_ms:
                self._reports.append(self._failed(waiting, KafkaError(KafkaError._MSG_TIMED_OUT)))
            elif broker.up:
                refusal = broker.refusal(waiting.topic)
                self._reports.append(self._failed(waiting, refusal) if refusal else self._append(waiting))
            else:
                break
            self._queue.popleft()

    def _append(self, waiting: _Waiting) -> tuple[Report | None, KafkaError | None, Message]:
        broker = self._broker
        place = (waiting.topic, waiting.partition, waiting.key, waiting.value, waiting.headers)
        sequence = (self._id, waiting.sequence) if self._idempotent else None
        offset = broker.take(*place, replicated=self._all, sequence=sequence)
        if broker.lost_acks:
            broker.lost_acks -= 1
            offset = broker.take(*place, replicated=self._all, sequence=sequence)
        return waiting.report, None, Message(waiting.topic, waiting.partition, None, None, offset)

    def _failed(self, waiting: _Waiting, error: KafkaError) -> tuple[Report | None, KafkaError | None, Message]:
        return waiting.report, error, Message(waiting.topic, waiting.partition, None, error, OFFSET_INVALID)


class Consumer:
    """`confluent_kafka.Consumer`, for assigned partitions. Nobody may use it after `close`."""

    def __init__(self, broker: Broker, config: Mapping[str, Any]) -> None:
        self._broker = broker
        self.config = dict(config)
        if config.get("fetch.max.bytes", 52_428_800) < config.get("message.max.bytes", 1_000_000):
            raise KafkaException(
                KafkaError(KafkaError._INVALID_ARG, "`fetch.max.bytes` must be >= `message.max.bytes`")
            )
        self._group = str(config["group.id"])
        self._commits = bool(config.get("enable.auto.commit", True))
        self._tells_ends = bool(config.get("enable.partition.eof", False))
        self._reset = str(config.get("auto.offset.reset", "latest"))
        self._committed_only = config.get("isolation.level", "read_committed") == "read_committed"
        self._at: dict[tuple[str, int], int] = {}
        self._told_end: dict[tuple[str, int], int] = {}
        self.leaderless: set[str] = set()
        """Topics of which it has heard that nobody leads them. It asks nobody for their ends until it has looked again."""
        self.closed = False

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        with self._broker.moved:
            self._commit()
            self._at = {(tp.topic, tp.partition): tp.offset for tp in partitions}
            self._told_end.clear()

    def poll(self, timeout: float = -1) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        self._require_open()
        with self._broker.moved:
            found = self._fetch(num_messages)
            if not found and timeout:
                self._broker.moved.wait(min(timeout, 0.05) if timeout >= 0 else 0.05)
                found = self._fetch(num_messages)
        return found

    def _fetch(self, limit: int) -> list[Message]:
        found: list[Message] = []
        if not self._broker.up:
            return found
        for (topic, partition), wanted in list(self._at.items()):
            log = self._broker.partition(topic, partition)
            at = self._begin(topic, partition, wanted)
            if at is None:
                error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "no offset to begin at")
                found.append(Message(topic, partition, None, error, wanted))
                del self._at[topic, partition]
                continue
            end = log.opened if self._committed_only and log.opened is not None else log.end
            records = [r for r in log.records if r.offset < end and not r.control]
            for record in [r for r in records if r.offset >= at][: limit - len(found)]:
                found.append(Message(topic, partition, record, None, record.offset))
                at = record.offset + 1
            if not any(r.offset >= at for r in records):
                at = max(at, end)
            self._at[topic, partition] = at
            if self._tells_ends and at >= end and self._told_end.get((topic, partition)) != end:
                if len(found) >= limit:
                    break
                self._told_end[topic, partition] = end
                told = KafkaError(KafkaError._PARTITION_EOF)
                found.append(Message(topic, partition, None, told, end))
        return found

    def _begin(self, topic: str, partition: int, wanted: int) -> int | None:
        log = self._broker.partition(topic, partition)
        if wanted == OFFSET_INVALID:
            wanted = self._broker.committed.get((self._group, topic, partition), -1)
        if wanted == OFFSET_BEGINNING:
            return log.low
        if log.low <= wanted <= log.end:
            return wanted
        return {"earliest": log.low, "latest": log.end}.get(self._reset)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int] | None:
        self._require_open()
        with self._broker.moved:
            if not self._broker.up:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))
            if partition.topic in self.leaderless:
                raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
            log = self._broker.partition(partition.topic, partition.partition)
            return log.low, log.end

    def list_topics(self, topic: str, timeout: float = -1) -> None:
        if not self._broker.up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self.leaderless.discard(topic)

    def committed(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        self._require_open()
        with self._broker.moved:
            if not self._broker.up:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))
            known = self._broker.committed
            return [
                TopicPartition(p.topic, p.partition, known.get((self._group, p.topic, p.partition), OFFSET_INVALID))
                for p in partitions
            ]

    def unassign(self) -> None:
        self._at.clear()

    def close(self) -> None:
        self._commit()
        self.closed = True

    def _commit(self) -> None:
        """What a client does by itself with what it has read, unless it was told not to."""
        if self._commits:
            for place, at in self._at.items():
                self._broker.committed[self._group, *place] = at

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("Consumer closed")


class Admin:
    """`confluent_kafka.admin.AdminClient`, as far as it is asked."""

    def __init__(self, broker: Broker, config: Mapping[str, Any]) -> None:
        self._broker = broker

    def poll(self, timeout: float) -> int:
        return 0

    def list_topics(self, timeout: float = -1) -> None:
        if not self._broker.up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def list_offsets(self, asked: Mapping[TopicPartition, Any], request_timeout: float = 0) -> dict[Any, Future[Any]]:
        answers: dict[Any, Future[Any]] = {}
        for at in asked:
            answer: Future[Any] = Future()
            log = self._broker.partition(at.topic, at.partition)
            if self._broker.silent or at.topic in self._broker.missing:
                pass
            elif self._broker.up:
                answer.set_result(_offset(log, asked[at]._value))
            else:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TRANSPORT)))
            answers[at] = answer
        return answers

    def describe_topics(self, asked: TopicCollection, request_timeout: float = 0) -> dict[str, Future[Any]]:
        answers: dict[str, Future[Any]] = {}
        for name in asked.topic_names:
            answers[name] = Future()
            if name in self._broker.missing:
                answers[name].set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            else:
                answers[name].set_result(_Described(self._broker.topic_ids.get(name, "first"), self._broker.spread))
        return answers

    def describe_configs(self, asked: Sequence[Any], request_timeout: float = 0) -> dict[Any, Future[Any]]:
        answer: Future[Any] = Future()
        answer.set_result({name: _Setting(value) for name, value in self._broker.settings.items()})
        return {asked[0]: answer}


class _Described(NamedTuple):
    topic_id: str
    partitions: Sequence[int]


class _Setting(NamedTuple):
    value: str


class _Offset(NamedTuple):
    offset: int
    timestamp: int = -1


def _offset(log: Partition, asked: int) -> _Offset:
    """`asked` is one of Kafka's negative numbers, or a time: then the first record of that time or later."""
    if asked == OffsetSpec.latest()._value:
        return _Offset(log.end)
    if asked == OffsetSpec.earliest()._value:
        return _Offset(log.low)
    if asked == OffsetSpec.max_timestamp()._value:
        newest = max(log.records, key=lambda record: record.timestamp_ms, default=None)
    else:
        newest = next((record for record in log.records if record.timestamp_ms >= asked), None)
    return _Offset(-1) if newest is None else _Offset(newest.offset, newest.timestamp_ms)
