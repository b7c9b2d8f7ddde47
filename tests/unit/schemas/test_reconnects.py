"""A port that takes connections and closes them is not tried without end: what stands there may be a proxy before a broker that died."""

from __future__ import annotations

from confluent_kafka import Consumer

from driftlog_schemas.connection import KafkaSettings
from tests.listener import HOST, DeadPort

POLLS = 15
POLL_SECONDS = 0.2


def test_a_client_that_is_cut_off_at_once_tries_a_few_times() -> None:
    with DeadPort() as dead:
        settings = KafkaSettings(bootstrap=f"{HOST}:{dead.port}")
        client = Consumer({**settings.client(), "group.id": "a", "log_level": 0})
        for _ in range(POLLS):
            client.poll(POLL_SECONDS)
        client.close()
    assert 0 < dead.connections <= 20  # librdkafka's own pause: 55 in these three seconds
