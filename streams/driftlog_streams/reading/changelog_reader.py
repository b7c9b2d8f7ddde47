"""Looking at the topics of a space from outside Faust: where their partitions end, and what stands in a range of them.

Both are seldom asked (see `changelog_watch`) and block, so they run off the event loop. The client that asks is one for the whole process where it is given (`asking`). The one that reads is replaced
where it gives nothing: of a topic that was made anew under it it may never get a record (librdkafka 2.16 takes the numbers of the new log's leaders, which begin at 0,
for outdated ones).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, OffsetSpec, ResourceType

from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.topic_ids import id_of
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.offsets import TIMEOUT_SECONDS, offsets
from driftlog_streams.reading.plain_reader import plain_reader
from driftlog_streams.reading.topic_reading import to_present_end


class ChangelogReader:
    """Not to be used by two threads at once."""

    def __init__(self, kafka: KafkaSettings | str, asking: AskingClient | None = None) -> None:
        self._asking = asking or AskingClient(kafka)
        self._kafka = kafka
        self._consumer = self._reading()

    def _reading(self) -> Consumer:
        return plain_reader(
            self._kafka, "driftlog-changelog-reader", {"auto.offset.reset": "error", "fetch.wait.max.ms": 20}
        )

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """(topic, partition) -> the offset that comes next. One request. Raises KafkaException."""
        latest: Any = OffsetSpec.latest  # untyped there
        return self._asked(places, latest())

    def begins(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """(topic, partition) -> the first offset that is left. One request. Raises KafkaException."""
        earliest: Any = OffsetSpec.earliest
        return self._asked(places, earliest())

    def topic_id(self, topic: str) -> str:
        """Which life of the topic this is: one that is made anew has another. One request. Raises KafkaException."""
        (found,) = self.topic_ids([topic])
        return found

    def topic_ids(self, names: Sequence[str]) -> list[str]:
        """The same of several, in order. One request. Raises KafkaException."""

        def ids(admin: AdminClient) -> list[str]:
            asked = admin.describe_topics(TopicCollection([*names]), request_timeout=TIMEOUT_SECONDS)
            return [id_of(asked[name].result(TIMEOUT_SECONDS)) for name in names]

        return self._asking.ask(ids)

    def milliseconds(self, topic: str, setting: str, otherwise: int) -> int:
        """A setting of a topic, `otherwise` where the broker does not let us see it. One request. Raises KafkaException."""

        def described(admin: AdminClient) -> dict[str, ConfigEntry]:
            wanted = [ConfigResource(ResourceType.TOPIC, topic)]
            (future,) = admin.describe_configs(wanted, request_timeout=TIMEOUT_SECONDS).values()
            found: dict[str, ConfigEntry] = future.result(TIMEOUT_SECONDS)
            return found

        try:
            entry = self._asking.ask(described).get(setting)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                return otherwise
            raise
        return otherwise if entry is None or entry.value is None else int(entry.value)

    def _asked(self, places: Iterable[tuple[str, int]], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(*place): spec for place in places}
        found = self._asking.ask(lambda admin: offsets(admin, wanted))
        return {place: at.offset for place, at in found.items()}

    def records(self, topic: str, partition: int, offsets: range) -> list[ChangelogRecord]:
        """What stands in a range of offsets. Raises KafkaException, `RecoveryFailed` if it does not come in time."""
        found: list[ChangelogRecord] = []
        try:
            starts = {partition: offsets.start}
            for block in to_present_end(self._consumer, topic, starts, stall_seconds=TIMEOUT_SECONDS):
                records = block.records.get(partition, ())
                found += [record for record in records if record.offset < offsets.stop]
                if records and records[-1].offset >= offsets.stop - 1:
                    break
        except RecoveryFailed:
            self._consumer.close()
            self._consumer = self._reading()
            raise
        finally:
            self._consumer.unassign()
        return found
