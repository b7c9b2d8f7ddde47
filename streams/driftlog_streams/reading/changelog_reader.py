"""Looking at the state topic from outside Faust: where its partitions end, and what stands in a range of them.

Both are seldom asked (see `changelog_watch`) and block, so they run off the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_streams.reading.topic_reading import to_present_end

TIMEOUT_SECONDS = 10.0


class ChangelogReader:
    """Reads one topic. Not to be used by two threads at once."""

    def __init__(self, kafka: KafkaSettings | str, topic: str) -> None:
        self._topic = topic
        self._client = kafka_at(kafka).client()
        self._admin = self._connected()
        self._settings = {
            **self._client,
            "group.id": "driftlog-changelog-reader",  # never joined, nothing committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }

    def _connected(self) -> AdminClient:
        return AdminClient({**self._client, "log_level": 0})

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """partition -> the offset that comes next. One request. Raises KafkaException."""
        try:
            return self._ends(partitions)
        except KafkaException:
            # The client goes on asking who led the partitions before the broker was away; the next question goes through a new one.
            self._admin = self._connected()
            raise

    def _ends(self, partitions: Iterable[int]) -> dict[int, int]:
        latest: Any = OffsetSpec.latest  # untyped there
        asked = self._admin.list_offsets(
            {TopicPartition(self._topic, p): latest() for p in partitions}, request_timeout=TIMEOUT_SECONDS
        )
        return {at.partition: future.result(TIMEOUT_SECONDS).offset for at, future in asked.items()}

    def last_words(self, partition: int, offsets: range) -> dict[bytes, bytes | None]:
        """The last value of every key in a range of offsets. Raises KafkaException, `RecoveryFailed` if it does not come in time."""
        found: dict[bytes, bytes | None] = {}
        consumer = Consumer(self._settings)
        try:
            starts = {partition: offsets.start}
            for block in to_present_end(consumer, self._topic, starts, stall_seconds=TIMEOUT_SECONDS):
                for record in block.records.get(partition, ()):
                    if record.offset < offsets.stop:
                        found[record.key] = record.value
        finally:
            consumer.close()
        return found
