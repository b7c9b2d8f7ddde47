"""A device by hand: each change in a batch of its own, without an agent."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from driftlog_crdt import DELETE, DOCUMENT, Op
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, encode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, ChainRow, Command, DocumentOp, Heartbeat
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.signing import Identity
from tests.integration.conftest import LoadRun
from tests.load.app import COUNTER
from tests.load.checker import latest_by_key
from tests.load.fleet import replica_of


class Sender:
    """A device that has read the partition up to now, unless it says otherwise."""

    def __init__(self, run: LoadRun, device: Identity, scope: str) -> None:
        self._run, self._device, self.replica = run, device, replica_of(device)
        self.partition = partition_of(scope, run.space.partitions)
        self._producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
        self._consumer = Consumer({"bootstrap.servers": run.bootstrap, "group.id": "nobody", "log_level": 0})
        self._scope = scope
        self._number, self._prev = 0, b""

    def send(self, document: DocumentId, seq: int, read: int | None = None, *, delete: bool = False) -> None:
        """An increment by one, or a delete."""
        self._number += 1
        stamp = (time.time_ns() // 1_000_000) << 16
        op = Op(self.replica, seq, stamp, COUNTER, "increment", 1)
        if delete:
            op = Op(self.replica, seq, stamp, DOCUMENT, DELETE, None, {})
        command = Command(f"{self.replica}-{self._number}", "", self._scope, stamp, (DocumentOp(document, op),))
        topic = topics.ops_topic(self._run.space.name)
        end = self._end(topic)
        body = encode_body(
            Batch(
                self._run.space.name,
                self.partition,
                self.replica,
                self._number,
                (command,),
                prev=self._prev,
                floor=1,
                read=end - 1 if read is None else read,
            )
        )
        self._prev = batch_digest(body)
        value = BatchCodec(self._run.ids).seal(body, self._device)
        self._producer.produce(topic, value, self._device.device_id.encode(), self.partition)
        assert self._producer.flush(30) == 0

    def heartbeat(self) -> None:
        """It lives."""
        value = RecordCodecs(self._run.ids).encode_heartbeat(
            Heartbeat(self._device.device_id, self.replica, 1, "online", 0, 0, 0, 0, {})
        )
        self._producer.produce(topics.HEARTBEATS, value, self._device.device_id.encode())
        assert self._producer.flush(30) == 0

    def row(self) -> ChainRow | None:
        """What the cloud says of it."""
        found = latest_by_key(self._run.history().receipts).get(self.replica.encode())
        if found is None or found.value is None:
            return None
        return RecordCodecs(self._run.ids).decode_chain_row(found.value)

    @retry(retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(30), wait=wait_fixed(0.2), reraise=True)
    def _end(self, topic: str) -> int:
        """Where the topic's partition ends. One that is new may have no leader yet that knows of it."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, self.partition), timeout=15)
        return end
