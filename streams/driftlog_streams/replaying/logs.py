"""The topics of a space for one who reads them from their beginning, a partition at a time, in blocks."""

from __future__ import annotations

from collections.abc import Generator

from confluent_kafka import Consumer, KafkaException

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.plain_reader import plain_reader
from driftlog_streams.reading.topic_reading import extent, to_present_end

QUEUED_KB = 32 << 10
"""What the client fetches ahead."""


class Logs:
    """Not to be used by two threads at once."""

    def __init__(self, kafka: KafkaSettings | str) -> None:
        self._kafka = kafka
        self._consumer = self._reading()

    def _reading(self) -> Consumer:
        return plain_reader(self._kafka, "driftlog-replay", {"queued.max.messages.kbytes": QUEUED_KB})

    def renew(self) -> None:
        """Take a new client: of a topic that was made anew under it the old one may never get a record (see `reading.changelog_reader`)."""
        self._consumer.close()
        self._consumer = self._reading()

    def extent(self, topic: str, partition: int) -> range:
        """The offsets that are there. Raises `BrokerUnreachable`."""
        try:
            return range(*extent(self._consumer, topic, partition))
        except KafkaException as error:
            raise _unreachable(topic, error) from error

    def blocks(self, topic: str, partition: int, start: int = 0) -> Generator[list[ChangelogRecord], None, None]:
        """All records from `start` up to the present end. Raises `BrokerUnreachable`."""
        try:
            for block in to_present_end(self._consumer, topic, {partition: start}):
                yield block.records.get(partition, [])
        except (KafkaException, RecoveryFailed) as error:
            raise _unreachable(topic, error) from error
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        self._consumer.close()


def _unreachable(topic: str, error: Exception) -> BrokerUnreachable:
    return BrokerUnreachable(f"{topic} cannot be read: {error}", "check --bootstrap, and the broker's log")
