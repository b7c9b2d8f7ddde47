"""What a space has set aside: commands that wait in `<space>.parked`, records that nobody could decide in `<space>.quarantine`.

A record of the quarantine can be given to the op topic once more: the bytes as they came, in their partition, keyed by their device
(where that could be read). It is admitted and decided anew there; whatever of it was merged meanwhile is a duplicate. A person who has seen
one may take it off the list: a word in the quarantine itself says so, and both go with the topic's retention. A parked command is not
taken away here: that it is given up the merge decides, at a record of the op log (`giving_up`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.messages import parked_name
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.reading.skipped import MISPLACED, UNREADABLE, Skipped, skipping
from driftlog_streams.reading.topic_reading import whole_topic

TIMEOUT_SECONDS = 15.0
PARKED, QUARANTINED = "parked", "quarantined"
DROPPED = "driftlog.dropped"
"""The header of a word that a person has seen a record of the quarantine; its value names the record in its partition (`Names`)."""
_UNREADABLE = (Undecodable, UnknownSchema, ValueError)
"""Anybody's tool may write to a topic."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """One thing that was set aside. `id` is unique in its space."""

    id: str
    what: str
    space: str
    partition: int
    offset: int
    append_ms: int
    device_id: str
    replica: str
    code: str
    reason: str
    documents: tuple[str, ...] = ()
    record: bytes = field(default=b"", repr=False)
    """Of the quarantine: the record as it came."""


class Names:
    """How the records of the quarantine of one partition are called: by the offset of the op record that has set them aside, and where that has several, all
    but the first also by a number. The same record is called the same, for after a crash it may be there twice.
    """

    def __init__(self) -> None:
        self._known: dict[int, dict[bytes, int]] = {}

    def name(self, offset: int, record: bytes) -> str:
        """What this one is called."""
        there = self._known.setdefault(offset, {})
        number = there.setdefault(hashlib.blake2b(record, digest_size=8).digest(), len(there))
        return f"{offset}.{number}" if number else str(offset)


def taken_off(record: ChangelogRecord) -> Iterator[str]:
    """What a word of the quarantine takes off the list, as it is called in its partition (`Names`)."""
    return ((value or b"").decode(errors="replace") for header, value in record.headers if header == DROPPED)


def read_set_aside(kafka: KafkaSettings | str, space: str, partitions: int, ids: SchemaIds) -> list[SetAside]:
    """Everything of a space, by append time. Raises `TopicProblem`, `BrokerUnreachable`."""
    codecs, batches = RecordCodecs(ids), BatchCodec(ids)
    waiting: dict[tuple[int, bytes], SetAside] = {}
    topic = topics.parked_topic(space)
    with skipping(topic) as skipped:
        for partition, record in whole_topic(kafka, topic, partitions):
            waiting.pop((partition, record.key), None)
            if record.value is not None and (found := _parked(space, partition, record, codecs, batches, skipped)):
                waiting[partition, record.key] = found
    kept: dict[str, SetAside] = {}
    names = [Names() for _ in range(partitions)]
    topic = topics.quarantine_topic(space)
    with skipping(topic) as skipped:
        for partition, record in whole_topic(kafka, topic, partitions):
            if record.value is None:
                for name in taken_off(record):
                    kept.pop(f"{partition}:{name}", None)
            elif (found := _quarantined(space, partition, record, codecs, names[partition], skipped)) is not None:
                kept[found.id] = found
    return sorted((*waiting.values(), *kept.values()), key=lambda one: (one.append_ms, one.id))


def send_again(kafka: KafkaSettings | str, one: SetAside) -> None:
    """Give a record of the quarantine to the op topic again, and take it off the list: what fails again is set aside again. Raises `DeliveryFailed`."""
    produce(kafka, topics.ops_topic(one.space), one.partition, one.device_id, one.record)
    drop(kafka, one)


def drop(kafka: KafkaSettings | str, one: SetAside) -> None:
    """Take a record of the quarantine off the list. Raises `DeliveryFailed`."""
    topic, seen = topics.quarantine_topic(one.space), {DROPPED: one.id.partition(":")[2].encode()}
    produce(kafka, topic, one.partition, one.device_id, None, seen)


def produce(
    kafka: KafkaSettings | str,
    topic: str,
    partition: int,
    key: str,
    value: bytes | None,
    headers: Mapping[str, bytes] | None = None,
) -> int:
    """Append one record; its offset. Raises `DeliveryFailed`."""
    failures: list[str] = []
    offsets: list[int] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error.str())
        else:
            offsets.append(message.offset() or 0)

    timeout_ms = int(TIMEOUT_SECONDS * 1000)
    producer = Producer({**kafka_at(kafka).client(), "acks": "all", "message.timeout.ms": timeout_ms, "log_level": 0})
    produce: Any = producer.produce
    produce(topic, value, key.encode(), partition, on_delivery, headers=list((headers or {}).items()) or None)
    if producer.flush(TIMEOUT_SECONDS + 1) or failures:
        raise DeliveryFailed(f"the broker did not take the record: {failures or 'no answer'}", "see the broker's log")
    return offsets[0]


def _parked(
    space: str, partition: int, record: ChangelogRecord, codecs: RecordCodecs, batches: BatchCodec, skipped: Skipped
) -> SetAside | None:
    try:
        parked = codecs.decode_parked(record.value or b"")
        signed = batches.open(parked.record)
        batch = decode_body(signed.body)
        ops = [op for command in batch.commands if command.id == parked.command for op in command.ops]
        name = record.key.decode()
        if parked.dropped_at >= 0:
            return None  # a person has given it up already
        place = parked_name(batch.replica, batch.number, parked.command)
    except _UNREADABLE:
        skipped.add(UNREADABLE, record.offset)
        return None
    if name != place:
        skipped.add(MISPLACED, record.offset)
        return None
    return SetAside(
        id=name,
        what=PARKED,
        space=space,
        partition=partition,
        offset=parked.offset,
        append_ms=parked.append_ms,
        device_id=signed.device_id,
        replica=batch.replica,
        code="gap",
        reason="waits for an earlier change that did not come yet",
        documents=tuple(dict.fromkeys("/".join(document) for document, _ in ops)),
    )


def _quarantined(
    space: str, partition: int, record: ChangelogRecord, codecs: RecordCodecs, names: Names, skipped: Skipped
) -> SetAside | None:
    try:
        kept = codecs.decode_quarantined(record.value or b"")
        device_id = record.key.decode()
    except _UNREADABLE:
        skipped.add(UNREADABLE, record.offset)
        return None
    return SetAside(
        id=f"{partition}:{names.name(kept.offset, kept.record)}",
        what=QUARANTINED,
        space=space,
        partition=partition,
        offset=kept.offset,
        append_ms=kept.append_ms,
        device_id=device_id,
        replica=kept.replica,
        code=kept.code,
        reason=kept.reason,
        record=kept.record,
    )
