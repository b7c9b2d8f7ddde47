"""What a group has committed, asked by one who is not in it.

Who coordinates a group is told by a partition of a topic that the broker makes for its first group, and moves as brokers come and go. Until it is there the
broker refuses, though the same question is good a moment later. A commit that could not be told is no group without commits: whoever took it for one
would begin at the first op.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftlog_streams.reading.asking_again import while_refused_with

MOVING = frozenset(
    {
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
TIMEOUT_SECONDS = 15.0


while_it_moves = while_refused_with(MOVING)
"""Asks again for a while where nobody coordinates the group."""


@while_it_moves
def committed(consumer: Consumer, places: Sequence[TopicPartition]) -> dict[int, int]:
    """Partition -> the offset that the consumer's group goes on at; negative where it has committed nothing. Raises KafkaException."""
    found = consumer.committed([*places], timeout=TIMEOUT_SECONDS)
    for at in found:
        if at.error is not None:
            raise KafkaException(at.error)
    return {at.partition: at.offset for at in found}
