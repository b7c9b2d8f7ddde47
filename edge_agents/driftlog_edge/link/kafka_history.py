"""Reading back what was once sent: the op topic, one partition, one key.

An agent needs it only when its life has ended (a restored or copied folder): to learn what else was written in its name. So it is a
client that lives for one reading.
"""

from __future__ import annotations

from contextlib import closing

from confluent_kafka import KafkaException, TopicPartition

from driftlog_edge.link.kafka_records import reading_back, records_from
from driftlog_edge.ports import Unreachable
from driftlog_schemas.connection import KafkaSettings


def read_history(
    kafka: KafkaSettings, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float
) -> list[bytes]:
    """The values under `key` from offset `start` to before `end`; see `ports.Route.history`."""
    try:
        with closing(reading_back(kafka)) as consumer:
            found = records_from(consumer, TopicPartition(topic, partition, start), end, seconds)
            return [record.value for record in found if record.key == key and record.value is not None]
    except KafkaException as error:
        raise Unreachable(f"{topic} cannot be read back: {error}") from error
