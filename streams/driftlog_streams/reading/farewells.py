"""Which replicas were wiped: the farewells that a key of their device has signed."""

from __future__ import annotations

from collections.abc import Callable

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.reading.skipped import UNREADABLE, UNSIGNED, skipping
from driftlog_streams.reading.topic_reading import whole_topic


def read_farewells(
    kafka: KafkaSettings | str, codecs: RecordCodecs, find: Callable[[str], Device | None]
) -> dict[str, list[Farewell]]:
    """device -> its genuine farewells, one of each key. Raises `TopicProblem`, `BrokerUnreachable`."""
    found: dict[bytes, Farewell] = {}
    with skipping(f"{topics.HEARTBEATS} (farewells)") as skipped:
        for _, record in whole_topic(kafka, topics.HEARTBEATS, topics.SHARED_PARTITIONS):
            if record.value is None or b"/" not in record.key:
                continue  # a heartbeat; a stranger's tombstone takes nothing back
            try:
                farewell = codecs.decode_farewell(record.value)
            except (Undecodable, UnknownSchema):
                skipped.add(UNREADABLE, record.offset)
                continue
            device = find(farewell.device_id)
            if device is not None and farewell.key == record.key and farewell.genuine(device):
                found[record.key] = farewell
            else:
                skipped.add(UNSIGNED, record.offset)
    told: dict[str, list[Farewell]] = {}
    for farewell in found.values():
        told.setdefault(farewell.device_id, []).append(farewell)
    return told
