"""The read-model topic as any Kafka tool sees it: the latest row per key."""

from __future__ import annotations

import time
import uuid
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from driftlog.demo.processes import DemoFailed
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.topics import state_topic


def latest(topic: str, partitions: int, bootstrap: str, seconds: float = 30.0) -> dict[bytes, bytes]:
    """key -> latest value of a compacted topic, read from its beginning to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        ends: dict[int, int] = {}
        for partition in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if high > low:
                ends[partition] = high
        if not ends:
            return {}
        consumer.assign([TopicPartition(topic, p, 0) for p in ends])
        values: dict[bytes, bytes] = {}
        limit = time.monotonic() + seconds
        while ends:
            if time.monotonic() > limit:
                raise DemoFailed(f"could not read {topic} to its end", "is the broker still there?")
            for record in consumer.consume(500, 0.2):
                key, value = record.key(), record.value()
                if record.error() or key is None:
                    continue
                if value is None:
                    values.pop(key, None)
                else:
                    values[key] = value
            for at in consumer.position([TopicPartition(topic, p) for p in ends]):
                if at.offset >= ends[at.partition]:
                    del ends[at.partition]
        return values
    finally:
        consumer.close()


def rows(space: SpaceContract, ids: SchemaIds, bootstrap: str) -> dict[DocumentId, dict[str, Any]]:
    """Every document of a space as a plain row."""
    codecs = {name: StateCodec(c, ids) for name, c in space.collections.items()}
    found = latest(state_topic(space.name), space.partitions, bootstrap)
    result = {}
    for key, value in found.items():
        document = parse_document_key(key)
        result[document] = codecs[document.collection].decode_row(value)
    return result
