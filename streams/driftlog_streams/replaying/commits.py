"""How far a group of workers has come in the op logs: asked, and for a generation that begins, said. Nobody joins the group for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import SetupProblem
from driftlog_streams.reading.group_commits import committed, while_it_moves
from driftlog_streams.reading.plain_reader import plain_reader

TIMEOUT_SECONDS = 15.0
_HAS_MEMBERS = frozenset({KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID})


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
                found = committed(asker, places)
        except KafkaException as error:
            raise _unreachable(f"the commits of group {topics.group} cannot be read", error) from error
        return {partition: max(offset, 0) for partition, offset in found.items()}

    def begin(self, topics: SpaceTopics, offsets: Mapping[int, int]) -> None:
        """The group, which has no members, goes on at these. Raises `SetupProblem` where it has some, `BrokerUnreachable`."""
        wanted = [TopicPartition(topics.ops, number, at) for number, at in offsets.items()]
        admin = AdminClient({**self._kafka.asker(), "log_level": 0})
        try:
            _alter(admin, ConsumerGroupTopicPartitions(topics.group, wanted))
        except KafkaException as error:
            if error.args[0].code() in _HAS_MEMBERS:
                raise SetupProblem(
                    f"group {topics.group} has members, and only a group without any can be told where to begin",
                    "stop all workers of this space; one that was killed is a member until its session is over (10 seconds unless set otherwise)."
                    " Then run the command again",
                ) from error
            raise _unreachable(f"group {topics.group} cannot be told where to begin", error) from error
        except TimeoutError as error:
            raise _unreachable(f"group {topics.group} cannot be told where to begin", "no answer") from error


@while_it_moves
def _alter(admin: AdminClient, wanted: ConsumerGroupTopicPartitions) -> None:
    done = admin.alter_consumer_group_offsets([wanted])[wanted.group_id].result(TIMEOUT_SECONDS)
    for at in done.topic_partitions:
        if at.error is not None:
            raise KafkaException(at.error)


def _unreachable(fact: str, error: object) -> BrokerUnreachable:
    return BrokerUnreachable(f"{fact}: {error}", "see the broker's log, then run the command again")
