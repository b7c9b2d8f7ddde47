"""Reading back what was once sent: the op topic, one partition, one key.

An agent needs it only when its life has ended (a restored or copied folder): to learn what else was written in its name. So it is a
client that lives for one reading.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftlog_edge.ports import Unreachable
from driftlog_schemas.connection import KafkaSettings

READ_AT_ONCE = 500
POLL_SECONDS = 0.5


def read_history(
    kafka: KafkaSettings, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float
) -> list[bytes]:
    """The values under `key` from offset `start` to before `end`; see `ports.Route.history`."""
    consumer = Consumer(
        {
            **kafka.reader(),
            "group.id": "driftlog-edge",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        return _read(consumer, f"{topic}[{partition}]", key, end, seconds)
    except KafkaException as error:
        raise Unreachable(f"{topic} cannot be read back: {error}") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, what: str, key: bytes, end: int, seconds: float) -> list[bytes]:
    found: list[bytes] = []
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        for message in consumer.consume(READ_AT_ONCE, POLL_SECONDS):
            error, offset, value = message.error(), message.offset(), message.value()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return found
                raise KafkaException(error)
            if offset is None or offset >= end:
                return found
            if message.key() == key and value is not None:
                found.append(value)
            if offset == end - 1:
                return found
            patience = time.monotonic() + seconds
    raise Unreachable(f"the broker does not give back what {what} holds")
