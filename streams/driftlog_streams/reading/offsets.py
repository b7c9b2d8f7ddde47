"""Offsets of partitions, asked through a client that lives for months."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

TIMEOUT_SECONDS = 10.0


def offsets(
    admin: AdminClient, wanted: Mapping[TopicPartition, OffsetSpec]
) -> dict[tuple[str, int], ListOffsetsResultInfo]:
    """(topic, partition) -> what the broker says. One request where nothing has moved. Raises KafkaException, TimeoutError.

    Where it is refused, the client looks who leads by now, and asks once more: by itself it would go on asking who led before, and be refused for a quarter of an hour
    (librdkafka 2.16 keeps a leader's epoch for as long as all that it knows of a topic).
    """
    try:
        return _answered(admin, wanted)
    except KafkaException:
        admin.list_topics(timeout=TIMEOUT_SECONDS)
        return _answered(admin, wanted)


def _answered(
    admin: AdminClient, wanted: Mapping[TopicPartition, OffsetSpec]
) -> dict[tuple[str, int], ListOffsetsResultInfo]:
    asked = admin.list_offsets(dict(wanted), request_timeout=TIMEOUT_SECONDS)
    return {(at.topic, at.partition): future.result(TIMEOUT_SECONDS) for at, future in asked.items()}


def watermarks(consumer: Consumer, topic: str, partition: int, seconds: float) -> tuple[int, int]:
    """Where a partition begins and ends. Raises KafkaException, also where nobody has answered in time.

    A client that has heard that nobody leads a partition asks nobody any more, also when somebody leads it again (librdkafka 2.16: for as long as all that
    it knows of a topic). So it looks who leads by now, and asks once more.
    """
    place = TopicPartition(topic, partition)
    try:
        found = consumer.get_watermark_offsets(place, timeout=seconds)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
            raise
        consumer.list_topics(topic, timeout=seconds)
        found = consumer.get_watermark_offsets(place, timeout=seconds)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return found
