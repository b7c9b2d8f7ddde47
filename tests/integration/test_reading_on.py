"""Who reads a topic for months: brokers take each other's place, and the topic may be made anew meanwhile."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from driftlog_infra import EmbeddedBroker
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.past_reader import PastReader
from tests.admin_clients import admin_of
from tests.load.waiting import until
from tests.made_anew import make_anew

pytestmark = pytest.mark.broker

TOPIC = "read-for-months"


def write(bootstrap: str, *values: bytes, topic: str = TOPIC) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def test_questions_are_answered_at_once_when_another_broker_leads(restartable_broker: EmbeddedBroker) -> None:
    bootstrap, space = restartable_broker.bootstrap, SpaceTopics("asked", 1)
    for future in admin_of(bootstrap).create_topics([NewTopic(space.ops, 1, 1), NewTopic(space.state, 1, 1)]).values():
        future.result(30)
    write(bootstrap, b"one", topic=space.ops)
    reader, past = ChangelogReader(bootstrap), PastReader(bootstrap, space)
    place = (space.ops, 0)
    for _ in range(2):
        assert (reader.begins([place])[place], reader.ends([place])[place]) == (0, 1)
        told = past.now([0], heartbeats=False)
        assert told > 0
        assert past.floors([0], told + 1) == {}
        restartable_broker.stop()
        restartable_broker.start()


@pytest.mark.deep
def test_a_reader_goes_on_in_a_topic_that_another_broker_led_and_that_was_made_anew(
    restartable_broker: EmbeddedBroker,
) -> None:
    bootstrap = restartable_broker.bootstrap
    topic = NewTopic(TOPIC, 1, 1)
    admin_of(bootstrap).create_topics([topic])[TOPIC].result(30)
    reader = ChangelogReader(bootstrap)

    def values(first: int, stop: int) -> list[bytes | None]:
        return [record.value for record in reader.records(TOPIC, 0, range(first, stop))]

    write(bootstrap, b"one")
    assert values(0, 1) == [b"one"]
    restartable_broker.stop()
    restartable_broker.start()
    write(bootstrap, b"two")
    assert values(1, 2) == [b"two"]
    make_anew(bootstrap, topic)
    write(bootstrap, b"new")
    with pytest.raises(RecoveryFailed, match="gives nothing"):
        values(0, 1)
    until(lambda: values(0, 1) == [b"new"], "the next look finds it", 30)
