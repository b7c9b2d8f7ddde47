"""The conflicts of a space as the topic has them: a bounded read from the beginning to the present end."""

from __future__ import annotations

import time

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftlog_schemas import topics
from driftlog_schemas.errors import BrokerUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.topics import Topic
from driftlog_schemas.topics_admin import TopicsAdmin

log = structlog.get_logger()

READ_SECONDS = 30.0


def read_conflicts(bootstrap: str, space: str, partitions: int, codecs: RecordCodecs) -> list[Conflict]:
    """The newest record of every conflict, by detection time. Raises `TopicProblem`, `BrokerUnreachable`."""
    topic = topics.conflicts_topic(space)
    TopicsAdmin(bootstrap, timeout=5.0).require([Topic(topic, partitions, {})])
    found: dict[bytes, Conflict] = {}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "driftlog-conflict-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        unread = set(range(partitions))
        end = time.monotonic() + READ_SECONDS
        while unread:
            if time.monotonic() > end:
                raise BrokerUnreachable(f"{topic} could not be read in {READ_SECONDS:.0f} s", "check the broker's log")
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    value = message.value()
                    found.pop(message.key() or b"", None)
                    if value is not None:
                        try:
                            found[message.key() or b""] = codecs.decode_conflict(value)
                        except (Undecodable, UnknownSchema) as noise:  # anybody's tool may write to a topic
                            log.warning("a conflict is not readable", offset=message.offset(), error=str(noise))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
    except KafkaException as error:
        raise BrokerUnreachable(f"{topic} cannot be read: {error}", "check the broker's log") from error
    finally:
        consumer.close()
    return sorted(found.values(), key=lambda c: (c.detected_ms, c.id))
