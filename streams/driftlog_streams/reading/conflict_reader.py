"""The conflicts of a space as the topic has them: a bounded read from the beginning to the present end."""

from __future__ import annotations

import structlog

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.reading.topic_reading import whole_topic

log = structlog.get_logger()


def read_conflicts(kafka: KafkaSettings | str, space: str, partitions: int, codecs: RecordCodecs) -> list[Conflict]:
    """The newest record of every conflict, by detection time. Raises `TopicProblem`, `BrokerUnreachable`."""
    found: dict[bytes, Conflict] = {}
    for _, record in whole_topic(kafka, topics.conflicts_topic(space), partitions):
        found.pop(record.key, None)
        if record.value is None:
            continue
        try:
            found[record.key] = codecs.decode_conflict(record.value)
        except (Undecodable, UnknownSchema) as noise:  # anybody's tool may write to a topic
            log.warning("a conflict is not readable", offset=record.offset, error=str(noise))
    return sorted(found.values(), key=lambda c: (c.detected_ms, c.id))
