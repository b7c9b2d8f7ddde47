"""The wire contract against the servers themselves: Kafka's own partitioner, a real registry's yes and no."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer

from driftlog.testing.servers import RunningBroker
from driftlog_schemas.errors import Incompatible, UnknownSchema
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import CachedRegistry

pytestmark = pytest.mark.broker

PARTITIONS = 13


def test_kafkas_own_partitioner_puts_a_scope_where_we_do(broker: RunningBroker, make_topic: Callable[..., str]) -> None:
    topic = make_topic("partitioner", partitions=PARTITIONS)
    scopes = [f"store-{number}" for number in range(200)] + ["größe", "a", "ab", "abc", "x" * 1000]
    landed: dict[str, int | None] = {}

    def on_delivery(error: object, message: Message) -> None:
        assert error is None
        landed[(message.key() or b"").decode()] = message.partition()

    producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    for scope in scopes:
        producer.produce(topic, b"", scope.encode(), on_delivery=on_delivery)
    assert producer.flush(30) == 0
    assert landed == {scope: partition_of(scope, PARTITIONS) for scope in scopes}


def visit(namespace: str, *fields: dict[str, Any]) -> str:
    schema = {"type": "record", "name": "Visit", "namespace": namespace, "fields": [{"name": "a", "type": "string"}]}
    return json.dumps({**schema, "fields": [{"name": "a", "type": "string"}, *fields]})


@pytest.fixture
def namespace(fresh_name: Callable[[str], str]) -> str:
    """Of records that no other test registers."""
    return fresh_name("test").replace("-", ".n")


def test_a_registered_schema_is_found_both_ways(registry_url: str, tmp_path: Path, namespace: str) -> None:
    text = visit(namespace)
    schema_id = CachedRegistry(registry_url, tmp_path / "cloud", register=True).id_of(text)
    edge = CachedRegistry(registry_url, tmp_path / "edge")
    assert edge.id_of(text) == schema_id
    reader = CachedRegistry(registry_url, tmp_path / "reader")
    assert json.loads(reader.schema_of(schema_id)) == json.loads(text)


def test_what_was_never_registered_is_unknown(registry_url: str, tmp_path: Path, namespace: str) -> None:
    ids = CachedRegistry(registry_url, tmp_path)
    with pytest.raises(UnknownSchema, match="Visit is not registered"):
        ids.id_of(visit(namespace))
    with pytest.raises(UnknownSchema, match="schema id 2147483647"):
        ids.schema_of(2147483647)


def test_another_version_of_a_registered_schema_is_unknown_to_an_edge(
    registry_url: str, tmp_path: Path, namespace: str
) -> None:
    CachedRegistry(registry_url, tmp_path / "cloud", register=True).id_of(visit(namespace))
    with pytest.raises(UnknownSchema):
        CachedRegistry(registry_url, tmp_path / "edge").id_of(visit(namespace, {"name": "b", "type": "long"}))


def test_a_change_that_breaks_readers_is_refused(registry_url: str, tmp_path: Path, namespace: str) -> None:
    cloud = CachedRegistry(registry_url, tmp_path, register=True)
    assert cloud.compatible(visit(namespace)), "a new subject takes any schema"
    first = cloud.register(visit(namespace))
    breaking = visit(namespace, {"name": "b", "type": "long"})
    assert not cloud.compatible(breaking)
    with pytest.raises(Incompatible, match="Visit"):
        cloud.register(breaking)
    growing = visit(namespace, {"name": "b", "type": "long", "default": 0})
    assert cloud.compatible(growing)
    assert cloud.register(growing) != first
