"""The ground a run stands on: its topics, its schemas, its enrolled devices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import Producer

from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.devices import Device
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.load.fleet import operator

DELIVERY_SECONDS = 30.0


def lay_topics(bootstrap: str, contract: AppContract) -> None:
    """Create what the app needs, as `driftlog topics apply` does."""
    admin = TopicsAdmin(bootstrap)
    wanted = topics.replicated(topics.wanted_topics(contract), admin.cluster().brokers)
    admin.apply(topics.plan(wanted, admin.existing([topic.name for topic in wanted])))


def schema_ids(registry_url: str, cache: Path) -> CachedRegistry:
    """Schema ids as the programs under test know them."""
    return CachedRegistry(registry_url, cache, register=True)


def enrol(bootstrap: str, devices: Iterable[Device], ids: CachedRegistry) -> None:
    """Put devices into the registry topic, as `driftlog devices enrol` does; returns when they are there."""
    codecs, signer = RecordCodecs(ids), operator()
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    for device in devices:
        value = codecs.encode_signed_line(signer.sign(codecs.encode_device(device)))
        producer.produce(topics.DEVICES, value, device.device_id.encode())
    assert producer.flush(DELIVERY_SECONDS) == 0, "the device registry took no records"
