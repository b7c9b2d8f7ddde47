"""Batches of the log that librdkafka does not unpack: what would come to more than it takes of a broker at once (100 MB), or is no compressed data.

It says so and asks for the same batch again, for ever, and who waits for what comes behind it waits as long. A few kilobytes of a stranger are enough. Nothing
in such a batch is of ours: a worker takes it for records that say nothing (`faust_driver.unpacking`), so it is passed over here. Its end is told by nobody. But
from each place within it the client is given the same error, and from any behind it records: so the first of these is found by trying.
"""

from __future__ import annotations

import time

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition

from driftlog_streams.errors import RecoveryFailed

log = structlog.get_logger()

NOT_UNPACKED = KafkaError._BAD_COMPRESSION
ANSWER_SECONDS = 15.0


def behind(consumer: Consumer, topic: str, partition: int, at: int, end: int) -> int:
    """The first offset behind the batch that holds `at`, or the partition's end. What is assigned is another place afterwards. Raises `RecoveryFailed`."""
    bad, good, step = at, end, 1
    while bad + step < end:
        if _readable(consumer, topic, partition, bad + step):
            good = bad + step
            break
        bad, step = bad + step, step * 2
    while good - bad > 1:
        middle = (bad + good) // 2
        if _readable(consumer, topic, partition, middle):
            good = middle
        else:
            bad = middle
    log.warning(
        "a batch cannot be unpacked and is passed over", topic=topic, partition=partition, offsets=f"{at}-{bad}"
    )
    return good


def _readable(consumer: Consumer, topic: str, partition: int, offset: int) -> bool:
    """Does it give anything from there on?"""
    consumer.assign([TopicPartition(topic, partition, offset)])
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        for message in consumer.consume(1, 0.1):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                return True
            if error.code() == NOT_UNPACKED:
                return False
    raise RecoveryFailed(f"{topic}[{partition}] gives nothing at {offset} for {ANSWER_SECONDS:.0f} s")
