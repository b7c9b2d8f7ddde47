"""Reading single records again: the newest of some keys, where somebody remembers at which offsets they lie.

A compacted topic keeps a key's newest record at its offset for ever, so one look finds it. Where another record lies there by now, or the offset was never
known, the partition is read through once for all such keys, and so it is where they are many. A client lives for one look: that takes some 15 ms, while one that is sent from place
to place waits half a second at each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from types import MappingProxyType

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftlog_edge.link.making import making
from driftlog_edge.ports import Record, Unreachable
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.record_headers import headers_of

POLL_SECONDS = 0.5
READ_AT_ONCE = 500
FEW = 16
"""Of more, one reading through the partition costs less than to look for each."""
LOOK_BYTES = 64 * 1024
"""That are asked for at one offset. A record that is larger comes all the same."""


def read_records(
    kafka: KafkaSettings, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
) -> dict[bytes, Record]:
    """See `ports.Route.records`."""
    try:
        few = len(wanted) <= FEW
        found = _at_offsets(kafka, TopicPartition(topic, partition), wanted, end, seconds) if few else {}
        if missing := wanted.keys() - found.keys():
            first = 0 if few else max(0, min(wanted.values()))  # of few, what is missing is not where it was
            with closing(reading_back(kafka)) as consumer:
                for record in records_from(consumer, TopicPartition(topic, partition, first), end, seconds):
                    if record.key in missing:
                        found[record.key] = record
    except KafkaException as error:
        raise Unreachable(f"{topic} cannot be read back: {error}") from error
    return found


def _at_offsets(
    kafka: KafkaSettings, place: TopicPartition, wanted: Mapping[bytes, int], end: int, seconds: float
) -> dict[bytes, Record]:
    found: dict[bytes, Record] = {}
    known = {key: offset for key, offset in wanted.items() if 0 <= offset < end}
    if not known:
        return found
    few = {"max.partition.fetch.bytes": LOOK_BYTES, "queued.min.messages": 1, "fetch.wait.max.ms": 10}
    for key, offset in known.items():
        there = TopicPartition(place.topic, place.partition, offset)
        with closing(reading_back(kafka, few)) as consumer:
            record = next(records_from(consumer, there, offset + 1, seconds, at_once=1), None)
        if record is not None and record.key == key:
            found[key] = record
    return found


def reading_back(kafka: KafkaSettings, more: Mapping[str, str | int] = MappingProxyType({})) -> Consumer:
    """A client for one reading, of no group; close it. `more` are settings of its own. Raises `Unreachable`."""
    with making():
        return Consumer(
            {
                **kafka.reader(),
                "group.id": "driftlog-edge",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "log_level": 0,
                **more,
            }
        )


def records_from(
    consumer: Consumer, there: TopicPartition, end: int, seconds: float, at_once: int = READ_AT_ONCE
) -> Iterator[Record]:
    """The records from a place to before offset `end`. Raises `Unreachable`, `KafkaException`."""
    consumer.assign([there])
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        for message in consumer.consume(at_once, POLL_SECONDS):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise KafkaException(error)
            record = record_of(message)
            if record.offset < end:
                yield record
            if record.offset >= end - 1:
                return
            patience = time.monotonic() + seconds
    raise Unreachable(f"the broker does not give back what {there.topic}[{there.partition}] holds")


def record_of(message: Message) -> Record:
    """A message as what it is here."""
    offset, key = message.offset(), message.key()
    assert offset is not None
    headers = tuple(headers_of(message))
    kind, at_ms = message.timestamp()
    appended = kind == TIMESTAMP_LOG_APPEND_TIME
    return Record(offset, bytes(key or b""), message.value(), headers, at_ms, appended)
