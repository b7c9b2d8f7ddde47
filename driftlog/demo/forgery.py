"""A thief with a made-up key: a batch in store-2's name that store-2 never signed."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import replace

from confluent_kafka import Consumer, Producer, TopicPartition

from driftlog.demo.processes import DemoFailed
from driftlog_crdt import Op
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import DocumentId, new_life, replica_id
from driftlog_schemas.messages import Batch, Command, DocumentOp, RefusalNotice
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity


def forge(
    victim: Identity, space: str, partitions: int, store: str, sku: str, ids: SchemaIds, bootstrap: str
) -> RefusalNotice:
    """Send it and return the notice that refuses it. Raises `DemoFailed` if none comes."""
    partition = partition_of(store, partitions)
    thief = replace(victim, key=Identity.create("thief").key)
    replica = replica_id(victim.device_id, new_life())
    stamp = int(time.time() * 1000) << 16
    op = Op(replica, 1, stamp, "on_hand", "increment", 1_000_000)
    command = Command(str(uuid.uuid4()), "receive", store, stamp, (DocumentOp(DocumentId("Stock", store, sku), op),))
    body = encode_body(Batch(space, partition, replica, 999, (command,)))
    topic = topics.receipts_topic(space)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": str(uuid.uuid4()), "enable.auto.commit": False})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        consumer.assign([TopicPartition(topic, partition, end)])
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce(
            topics.ops_topic(space), BatchCodec(ids).seal(body, thief), victim.device_id.encode(), partition
        )
        producer.flush(10)
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            record = consumer.poll(0.2)
            value = None if record is None or record.error() else record.value()
            if value is None:
                continue
            with suppress(Undecodable):  # other records stand there too
                return RecordCodecs(ids).decode_refusal_notice(value)
    finally:
        consumer.close()
    raise DemoFailed("nothing refused the forged batch", "see the workers' logs")
