"""The conflicts of a space as the topic has them: a bounded read from the beginning to the present end."""

from __future__ import annotations

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.reading.skipped import MISPLACED, UNREADABLE, skipping
from driftlog_streams.reading.topic_reading import whole_topic


def read_conflicts(kafka: KafkaSettings | str, space: str, partitions: int, codecs: RecordCodecs) -> list[Conflict]:
    """The newest record of every conflict, by detection time. Raises `TopicProblem`, `BrokerUnreachable`."""
    found: dict[bytes, Conflict] = {}
    topic = topics.conflicts_topic(space)
    with skipping(topic) as skipped:
        for _, record in whole_topic(kafka, topic, partitions):
            found.pop(record.key, None)
            if record.value is None:
                continue
            try:
                conflict = codecs.decode_conflict(record.value)
            except (Undecodable, UnknownSchema):
                skipped.add(UNREADABLE, record.offset)
                continue
            if record.key == conflict.id.encode():
                found[record.key] = conflict
            else:
                skipped.add(MISPLACED, record.offset)
    return sorted(found.values(), key=lambda c: (c.detected_ms, c.id))
