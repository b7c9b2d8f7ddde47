"""The conflicts of a space as the topic has them: a bounded read from the beginning to the present end."""

from __future__ import annotations

import structlog
from confluent_kafka import Consumer, KafkaException

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import BrokerUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.topics import Topic
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.topic_reading import to_present_end

log = structlog.get_logger()


def read_conflicts(kafka: KafkaSettings | str, space: str, partitions: int, codecs: RecordCodecs) -> list[Conflict]:
    """The newest record of every conflict, by detection time. Raises `TopicProblem`, `BrokerUnreachable`."""
    topic = topics.conflicts_topic(space)
    TopicsAdmin(kafka, timeout=5.0).require([Topic(topic, partitions, {})])
    found: dict[bytes, Conflict] = {}
    consumer = Consumer(
        {
            **kafka_at(kafka).client(),
            "group.id": "driftlog-conflict-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    try:
        for block in to_present_end(consumer, topic, dict.fromkeys(range(partitions), 0)):
            for record in (r for records in block.records.values() for r in records):
                found.pop(record.key, None)
                if record.value is None:
                    continue
                try:
                    found[record.key] = codecs.decode_conflict(record.value)
                except (Undecodable, UnknownSchema) as noise:  # anybody's tool may write to a topic
                    log.warning("a conflict is not readable", offset=record.offset, error=str(noise))
    except (KafkaException, RecoveryFailed) as error:
        raise BrokerUnreachable(f"{topic} cannot be read: {error}", "check the broker's log") from error
    finally:
        consumer.close()
    return sorted(found.values(), key=lambda c: (c.detected_ms, c.id))
