"""Which workers there are, and who owns which partition: the members of a space's group, by the broker's word. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, MemberDescription

from driftlog_schemas import topics
from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_streams.reading.group_commits import while_it_moves

TIMEOUT_SECONDS = 10.0
KNOWS_ENDS = "driftlog-worker-1"
"""What a worker calls itself to the broker (`client.id`), from the release on that merges nothing behind the end of a log. Those of before are called as
their library calls all."""


class Worker(NamedTuple):
    """One of them."""

    name: str
    """Its slot; of a member that is none of our workers what the broker calls it."""
    host: str
    partitions: tuple[int, ...]
    """Those that it owns, in order; none where it only stands by."""
    knows_ends: bool = True
    """Is it of a release that merges nothing behind the end of a log?"""


class WorkerReader:
    """See the module. `merged` says which generation of a space the workers merge."""

    def __init__(self, kafka: KafkaSettings | str, merged: Callable[[str], int] = lambda space: 1) -> None:
        self._merged = merged
        self._asking = AskingClient(kafka)

    def look(self, space: str) -> list[Worker]:
        """The workers of a space, by name; none where its group has no member or was never there. Raises KafkaException."""
        group = topics.SpaceTopics(space, self._merged(space)).group
        try:
            members = self._members(group)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise
            members = []
        return sorted(_worker(member, group, topics.ops_topic(space)) for member in members)

    @while_it_moves
    def _members(self, group: str) -> list[MemberDescription]:
        def members(admin: AdminClient) -> list[MemberDescription]:
            return list(
                admin.describe_consumer_groups([group], request_timeout=TIMEOUT_SECONDS)[group].result().members
            )

        return self._asking.ask(members)


def unowned(workers: Iterable[Worker], partitions: int) -> list[int]:
    """Of so many partitions those that nobody owns."""
    owned = {partition for worker in workers for partition in worker.partitions}
    return [partition for partition in range(partitions) if partition not in owned]


def _worker(member: MemberDescription, group: str, topic: str) -> Worker:
    assigned = member.assignment.topic_partitions if member.assignment else []
    name = member.group_instance_id or member.member_id
    owned = sorted(place.partition for place in assigned if place.topic == topic)
    return Worker(name.removeprefix(f"{group}-"), member.host.lstrip("/"), tuple(owned), member.client_id == KNOWS_ENDS)
