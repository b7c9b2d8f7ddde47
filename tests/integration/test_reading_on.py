"""Who reads a topic for months: brokers take each other's place, and the topic may be made anew meanwhile."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from driftlog_infra import EmbeddedBroker
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.changelog_reader import ChangelogReader
from tests.admin_clients import admin_of
from tests.load.waiting import until
from tests.made_anew import make_anew

pytestmark = pytest.mark.broker

TOPIC = "read-for-months"


def write(bootstrap: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value in values:
        producer.produce(TOPIC, value, partition=0)
    assert producer.flush(30) == 0


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
