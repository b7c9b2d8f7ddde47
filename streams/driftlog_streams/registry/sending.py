"""An operator's records, sent one after the other and waited for: few, by hand, each of which matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from driftlog_schemas.connection import KafkaSettings

SEND_SECONDS = 15.0


class Sent(NamedTuple):
    """What became of records that were given to the broker."""

    stamps: list[tuple[int, int]]
    """Kind and milliseconds, of each that was taken."""
    missing: int
    """How many were not."""
    why: str
    """The first reason."""


def send(kafka: KafkaSettings, topic: str, values: Mapping[str, bytes | None]) -> Sent:
    """Each value under its key, into the topic's one partition."""
    stamps: list[tuple[int, int]] = []
    failures: list[str] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            stamps.append(message.timestamp())
        else:
            failures.append(error.str())

    producer = Producer(
        {
            **kafka.client(),
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": int(SEND_SECONDS * 1000),
            "log_level": 0,
        }
    )
    for key, value in values.items():
        producer.produce(topic, value, key.encode(), 0, on_delivery)
    left = producer.flush(SEND_SECONDS + 1)
    return Sent(stamps, left or len(failures), ", ".join(failures[:1]) or "no answer")
