"""What the topics of a space hold at this moment, read to their end. Record everything, judge afterwards (see `checker`)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

from driftlog_schemas import topics
from driftlog_schemas.record_headers import headers_of
from driftlog_streams.reading.topic_reading import extent

READ_SECONDS = 120.0


class TopicRecord(NamedTuple):
    """A record as it was read."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class History:
    """All that one space's topics hold, in the order of each partition."""

    ops: Sequence[TopicRecord]
    state: Sequence[TopicRecord]
    receipts: Sequence[TopicRecord] = field(default=())
    conflicts: Sequence[TopicRecord] = field(default=())
    parked: Sequence[TopicRecord] = field(default=())


def read_space(bootstrap: str, space: str) -> History:
    """Read everything."""
    return History(
        ops=read_topic(bootstrap, topics.ops_topic(space)),
        state=read_topic(bootstrap, topics.state_topic(space)),
        receipts=read_topic(bootstrap, topics.receipts_topic(space)),
        conflicts=read_topic(bootstrap, topics.conflicts_topic(space)),
        parked=read_topic(bootstrap, topics.parked_topic(space)),
    )


def read_topic(bootstrap: str, topic: str, seconds: float = READ_SECONDS) -> list[TopicRecord]:
    """All records between the topic's beginning and its present end. Raises TimeoutError."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    try:
        partitions = sorted(consumer.list_topics(topic, 15).topics[topic].partitions)
        assert partitions, f"there is no topic {topic}"
        extents = {p: extent(consumer, topic, p) for p in partitions}
        ends = {p: end for p, (_, end) in extents.items()}
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        records: list[TopicRecord] = []
        open_partitions = {p for p, (first, end) in extents.items() if first < end}
        give_up = time.monotonic() + seconds
        while open_partitions:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{topic}: partitions {open_partitions} not read to their end in {seconds:.0f} s")
            records += (_record(m) for m in consumer.consume(2000, 0.1))
            # The position, not the last record: compaction may have removed the records before the end.
            for at in consumer.position([TopicPartition(topic, p) for p in open_partitions]):
                if at.offset >= ends[at.partition]:
                    open_partitions.discard(at.partition)
        return [r for r in records if r.offset < ends[r.partition]]
    finally:
        consumer.close()


def _record(message: Any) -> TopicRecord:
    assert message.error() is None, message.error()
    kind, stamp = message.timestamp()
    return TopicRecord(
        message.partition(),
        message.offset(),
        stamp if kind == TIMESTAMP_LOG_APPEND_TIME else -1,
        message.key(),
        message.value(),
        headers_of(message),  # type: ignore[arg-type]  # of ours none is null
    )
