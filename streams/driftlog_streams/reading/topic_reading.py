"""Partitions of a topic from where one stands to their present end, which is asked for first.

Records are read in blocks. Compaction may have removed the records before an end, so a partition is also at its end when the
broker says so. What cannot be unpacked is passed over (`not_unpacked`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import methodcaller
from typing import cast

import structlog
from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.record_headers import headers_of_each
from driftlog_schemas.topics import Topic
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_schemas.tuples import maker
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.errors import RecoveryFailed, SetupProblem, TopicMadeAnew
from driftlog_streams.reading.asking_again import while_refused_with
from driftlog_streams.reading.not_unpacked import NOT_UNPACKED, behind
from driftlog_streams.reading.offsets import watermarks
from driftlog_streams.reading.plain_reader import plain_reader

log = structlog.get_logger()

BLOCK = 10000
MOVING = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,  # it has come back, or another leads, and the client has not heard of it
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)
ASK_SECONDS = 15.0
STALL_SECONDS = 30.0
"""Without any progress for so long reading is given up; the supervisor tries again."""
_partition = methodcaller("partition")
_record = maker(ChangelogRecord)


@dataclass(slots=True)
class Block:
    """What came at once."""

    records: dict[int, list[ChangelogRecord]]
    read_to: dict[int, int]
    """partition -> the offset that comes next, for partitions that are at their end"""


@while_refused_with(MOVING)
def extent(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """Where it begins and ends. Where it lies is asked again for a while: just made, or moved, it has no leader yet. Raises KafkaException."""
    return watermarks(consumer, topic, partition, ASK_SECONDS)


def to_present_end(
    consumer: Consumer, topic: str, starts: Mapping[int, int], stall_seconds: float = STALL_SECONDS
) -> Iterator[Block]:
    """Blocks of records of each partition from its start to its present end. Raises KafkaException, `RecoveryFailed`."""
    ends: dict[int, int] = {}
    following: dict[int, int] = {}
    for partition, start in starts.items():
        low, high = extent(consumer, topic, partition)
        if start > high:
            raise TopicMadeAnew(
                f"the store of {topic}[{partition}] is at {start}, the topic ends at {high}: the topic was made anew"
            )
        if high > max(start, low):
            ends[partition] = high
            following[partition] = max(start, low)
    _assign(consumer, topic, following)
    moved = time.monotonic()
    while ends:
        messages = consumer.consume(BLOCK, 0.1)
        good = [message for message in messages if message.error() is None]
        block = Block({}, {})
        for partition, run in groupby(good, key=_partition):
            block.records.setdefault(partition, []).extend(_records([*run]))
        for partition, records in block.records.items():
            following[partition] = records[-1].offset + 1
            if partition in ends and records[-1].offset + 1 >= ends[partition]:
                block.read_to[partition] = records[-1].offset + 1
        for message in messages if len(good) < len(messages) else ():
            _take_error(message, ends, block)
        for partition in {cast(int, message.partition()) for message in messages if _is_packed(message)} & ends.keys():
            place = behind(consumer, topic, partition, following[partition], ends[partition])
            following[partition] = place
            if place >= ends[partition]:
                block.read_to[partition] = place
            _assign(consumer, topic, {one: at for one, at in following.items() if one in ends})
        for partition in block.read_to:
            del ends[partition]
        if block.records or block.read_to:
            moved = time.monotonic()
            yield block
        elif time.monotonic() - moved > stall_seconds:
            raise RecoveryFailed(f"{topic} gives nothing for {stall_seconds:.0f} s before its end")


def _assign(consumer: Consumer, topic: str, places: Mapping[int, int]) -> None:
    consumer.assign([TopicPartition(topic, partition, at) for partition, at in places.items()])


def _is_packed(message: Message) -> bool:
    """Is it the word that a batch cannot be unpacked?"""
    error = message.error()
    return error is not None and error.code() == NOT_UNPACKED


def _take_error(message: Message, ends: Mapping[int, int], block: Block) -> None:
    """What is no record: the end of a partition, before which compaction may have left a hole, or a trouble of the client's."""
    error, partition = message.error(), cast(int, message.partition())
    if error is None or error.code() == NOT_UNPACKED:
        return
    if error.code() != KafkaError._PARTITION_EOF:
        log.warning("recovery", error=str(error))
    elif partition in ends:
        end = max(ends[partition], cast(int, message.offset()))
        block.read_to[partition] = max(end, block.read_to.get(partition, end))


def _records(messages: Sequence[Message]) -> list[ChangelogRecord]:
    """By columns: a recovery reads hundreds of thousands, and a function for each would cost as much as the client's own object."""
    keys = [message.key() or b"" for message in messages]
    values = [message.value() for message in messages]
    offsets = [message.offset() for message in messages]
    stamps = [message.timestamp() for message in messages]
    times = [at_ms if kind == TIMESTAMP_LOG_APPEND_TIME else UNTIMED for kind, at_ms in stamps]
    return [*map(_record, zip(keys, values, offsets, headers_of_each(messages), times, strict=True))]


def whole_topic(kafka: KafkaSettings | str, topic: str, partitions: int) -> Iterator[tuple[int, ChangelogRecord]]:
    """Each record with its partition, from the beginning to the present end. Raises `TopicProblem`, `BrokerUnreachable`."""
    TopicsAdmin(kafka, timeout=5.0).require([Topic(topic, partitions, {})])
    consumer = plain_reader(kafka, "driftlog-reader")
    try:
        for block in to_present_end(consumer, topic, dict.fromkeys(range(partitions), 0)):
            for partition, records in block.records.items():
                for record in records:
                    yield partition, record
    except (KafkaException, RecoveryFailed) as error:
        raise BrokerUnreachable(f"{topic} cannot be read: {error}", "check the broker's log") from error
    finally:
        consumer.close()


def from_the_first(
    kafka: KafkaSettings | str, topic: str, partitions: int, partition: int
) -> Iterator[tuple[ChangelogRecord, int]]:
    """Each record of one partition, and the end that it had when this began.

    Raises `TopicProblem`, `BrokerUnreachable`; `SetupProblem` where the first records are gone.
    """
    TopicsAdmin(kafka, timeout=5.0).require([Topic(topic, partitions, {})])
    consumer = plain_reader(kafka, "driftlog-reader")
    try:
        low, end = extent(consumer, topic, partition)
        if low > 0:
            raise SetupProblem(
                f"{topic}[{partition}] begins at offset {low}: what was before is gone, and with it what became of the rest",
                "it was deleted by age (retention.ms of the topic), or the log counts on behind another one: of a space with another number of partitions"
                " what was before its move is in the old topic",
            )
        for block in to_present_end(consumer, topic, {partition: 0}):
            for record in block.records.get(partition, ()):
                yield record, end
    except (KafkaException, RecoveryFailed) as error:
        raise BrokerUnreachable(f"{topic} cannot be read: {error}", "check the broker's log") from error
    finally:
        consumer.close()
