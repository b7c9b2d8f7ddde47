"""What an operator says counts from a moment on, and that moment is the broker's: records are judged by when it has appended them.

So it is asked how far its clock is from this machine's, before a key is certified or a line is dated.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.registry.sending import send

log = structlog.get_logger()

SKEW_MS = 5_000
"""How far this machine's clock may be from the broker's without a word: changes count by the broker's."""


def own_ms() -> int:
    """By this machine's clock."""
    return time.time_ns() // 1_000_000


def broker_ahead_ms(kafka: KafkaSettings, now_ms: Callable[[], int] = own_ms) -> int:
    """By how much the broker's clock is ahead of this machine's; 0 where they are close enough.

    A record without a meaning beside the heartbeats makes it tell its time, as workers do. Raises `BrokerUnreachable`, `DeliveryFailed`, `TopicProblem`.
    """
    TopicsAdmin(kafka, timeout=5.0).require([topics.heartbeats_topic()])
    asked_ms = now_ms()
    sent = send(kafka, topics.HEARTBEATS, {CLOUD: None})
    if not sent.stamps:
        raise DeliveryFailed(
            f"the broker does not tell its time: {sent.why}",
            f"let the operator write to {topics.HEARTBEATS}, too, and see the broker's log",
        )
    kind, append_ms = sent.stamps[0]
    ahead_ms = append_ms - asked_ms if kind == TIMESTAMP_LOG_APPEND_TIME else 0
    if abs(ahead_ms) <= SKEW_MS:
        return 0
    log.warning("this machine's clock is not the broker's; changes count by the broker's", broker_ahead_ms=ahead_ms)
    return ahead_ms
