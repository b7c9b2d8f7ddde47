"""When the lives of devices began, as the chain rows of all spaces tell it: what shows a copied folder or key for good."""

from __future__ import annotations

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import device_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.life_watch import marked
from driftlog_streams.reading.skipped import MISPLACED, UNREADABLE, skipping
from driftlog_streams.reading.topic_reading import whole_topic


def cloned_devices(kafka: KafkaSettings | str, codecs: RecordCodecs) -> dict[str, int]:
    """Device -> when it began the last life that was one too many within an hour. Raises `BrokerUnreachable`."""
    births: dict[str, dict[str, int]] = {}
    for topic, partitions in TopicsAdmin(kafka, timeout=5.0).partition_counts().items():
        if not topics.space_of_receipts(topic):
            continue
        with skipping(topic) as skipped:
            for _, record in whole_topic(kafka, topic, partitions):
                if record.value is None or b"." not in record.key:
                    continue  # a word to a device, not a row
                try:
                    row = codecs.decode_chain_row(record.value)
                except (Undecodable, UnknownSchema):
                    skipped.add(UNREADABLE, record.offset)
                    continue
                if record.key != row.replica.encode() or device_of(row.replica) != row.device_id:
                    skipped.add(MISPLACED, record.offset)
                elif row.born_ms:  # a life begins once, wherever it writes first
                    lives = births.setdefault(row.device_id, {})
                    lives[row.replica] = min(row.born_ms, lives.get(row.replica, row.born_ms))
    return {device: at for device, lives in births.items() if (at := marked(lives.values()))}
