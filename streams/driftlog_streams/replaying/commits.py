"""How far a group of workers has come in the op logs: asked, and for a generation that begins, said. Nobody joins the group for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.reading.plain_reader import plain_reader

TIMEOUT_SECONDS = 15.0


class Commits:
    """Of the groups of one space's generations."""

    def __init__(self, kafka: KafkaSettings | str, partitions: int) -> None:
        self._kafka = kafka_at(kafka)
        self._partitions = partitions

    def read(self, topics: SpaceTopics) -> dict[int, int]:
        """Partition -> the op offset before which all is merged; 0 where the group has confirmed nothing. Raises `BrokerUnreachable`."""
        places = [TopicPartition(topics.ops, number) for number in range(self._partitions)]
        try:
            with closing(plain_reader(self._kafka, topics.group)) as asker:
                found = asker.committed(places, timeout=TIMEOUT_SECONDS)
        except KafkaException as error:
            raise _unreachable(f"the commits of group {topics.group} cannot be read", error) from error
        return {at.partition: max(at.offset, 0) for at in found}

    def begin(self, topics: SpaceTopics, offsets: Mapping[int, int]) -> None:
        """The group, which has no members, goes on at these. Raises `BrokerUnreachable`."""
        wanted = [TopicPartition(topics.ops, number, at) for number, at in offsets.items()]
        admin = AdminClient({**self._kafka.client(), "log_level": 0})
        asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(topics.group, wanted)])
        try:
            done = asked[topics.group].result(TIMEOUT_SECONDS)
        except (KafkaException, TimeoutError) as error:
            raise _unreachable(f"group {topics.group} cannot be told where to begin", error) from error
        for at in done.topic_partitions:
            if at.error is not None:
                raise _unreachable(f"group {topics.group} cannot be told where to begin", at.error)


def _unreachable(fact: str, error: object) -> BrokerUnreachable:
    return BrokerUnreachable(f"{fact}: {error}", "see the broker's log, then run the command again")
