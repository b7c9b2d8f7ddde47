"""What a group has committed, asked and said while who coordinates it is just coming up, or while it has members."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from tenacity import wait_none

from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import SetupProblem
from driftlog_streams.reading.group_commits import MOVING, committed
from driftlog_streams.replaying import commits
from driftlog_streams.replaying.commits import Commits

PLACES = [TopicPartition("retail.ops", number) for number in range(2)]


@dataclass
class At:
    """As the client answers of a partition."""

    partition: int
    offset: int
    error: KafkaError | None = None


class Group:
    """It refuses with these codes first, as a consumer that asks and as an admin that says."""

    def __init__(self, *refusals: int, unstable: bool = False) -> None:
        self.refusals, self.unstable = [*refusals], unstable
        self.said: list[TopicPartition] = []

    def _refuse(self) -> None:
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))

    def committed(self, places: list[TopicPartition], timeout: float) -> list[At]:
        self._refuse()
        error = KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT) if self.unstable else None
        return [At(0, 7), At(1, -1001, error)]

    def alter_consumer_group_offsets(self, asked: list[ConsumerGroupTopicPartitions]) -> dict[str, Future[Any]]:
        told: Future[Any] = Future()
        (wanted,) = asked
        try:
            self._refuse()
        except KafkaException as error:
            told.set_exception(error)
        else:
            self.said = wanted.topic_partitions
            told.set_result(wanted)
        return {wanted.group_id: told}

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        monkeypatch.setattr(commits, "AdminClient", lambda settings: self)
        Commits("nowhere:1", 2).begin(SpaceTopics("retail"), {0: 8, 1: 3})
        return [(at.partition, at.offset) for at in self.said]


def asked(group: Group) -> dict[int, int]:
    return committed(cast(Any, group), PLACES)


def test_it_is_asked_again_while_nobody_coordinates_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cast(Any, committed).retry, "wait", wait_none())
    assert asked(Group(*MOVING)) == {0: 7, 1: -1001}


def test_whatever_else_is_wrong_is_said_at_once() -> None:
    group = Group(KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        asked(group)
    assert len(group.refusals) == 1


def test_a_commit_that_could_not_be_told_is_not_taken_for_none() -> None:
    with pytest.raises(KafkaException, match="UNSTABLE_OFFSET_COMMIT"):
        asked(Group(unstable=True))


def test_it_is_said_again_while_nobody_coordinates_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Group(KafkaError.NOT_COORDINATOR).begin(monkeypatch) == [(0, 8), (1, 3)]


@pytest.mark.parametrize("code", [KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID])
def test_where_workers_run_it_says_to_stop_them(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(code)
    with pytest.raises(SetupProblem, match="driftlog-merge-retail has members") as refused:
        group.begin(monkeypatch)
    assert "stop all workers" in refused.value.remedy and not group.said


def test_another_refusal_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokerUnreachable, match="GROUP_AUTHORIZATION_FAILED"):
        Group(KafkaError.GROUP_AUTHORIZATION_FAILED).begin(monkeypatch)
