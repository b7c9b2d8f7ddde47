"""`driftlog doctor` names what is wrong, with the way out; and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_schemas.public_key import key_text
from tests.admin_clients import admin_of
from tests.integration.cli.shell import Ended, Shell
from tests.load.fleet import operator

pytestmark = pytest.mark.broker


@pytest.fixture
def patient(place: Path, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str) -> Shell:
    """A cluster of its own, with an app, an enrolled device and a pinned root."""
    shell = Shell(
        place,
        bootstrap=empty_broker.bootstrap,
        registry=registry_url,
        schema_cache=str(tmp_path / "schema-cache"),
        trust__root=key_text(operator().certificate.root),
    )
    shell.declare("ward", collection="Ward")
    return shell


def examined(shell: Shell, code: int) -> dict[str, dict[str, Any]]:
    """what -> finding"""
    ended = shell.run("doctor", "--app", "corner_shop:app", "--json")
    assert ended.code == code, ended
    return {found["what"]: found for found in Ended(ended.words, 0, ended.out, ended.err).data}


def test_from_nothing_to_nothing_wrong(patient: Shell) -> None:
    found = examined(patient, 1)
    assert found["ward.ops"]["fact"] == "the topic does not exist"
    assert "driftlog topics apply" in found["ward.ops"]["remedy"]
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("devices", "enrol", "store-1").assert_done()
    found = examined(patient, 0)
    assert {finding["level"] for finding in found.values()} == {"note"}
    assert "devices enrol-cloud" in found.pop("forgetting")["remedy"]
    (only,) = found.values()
    assert "one broker" in only["fact"]
    patient.run("devices", "enrol-cloud").assert_done()
    assert "forgetting" not in examined(patient, 0)


def test_what_is_wrong_is_named(patient: Shell, empty_broker: EmbeddedBroker) -> None:
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("devices", "enrol", "store-1").assert_done()
    keep_writers_times(empty_broker.bootstrap, "ward.ops")
    producer = Producer({"bootstrap.servers": empty_broker.bootstrap, "log_level": 0})
    producer.produce(topics.DEVICES, None, b"store-1", 0)
    assert producer.flush(30) == 0

    found = examined(patient, 1)
    assert found["ward.ops"]["fact"] == "message.timestamp.type is CreateTime, it must be LogAppendTime"
    assert "tombstone" in found[topics.DEVICES]["fact"]
    assert "written over" in found["device store-1"]["fact"]
    refused = patient.run("worker", "--app", "corner_shop:app", "--wait", "1s")
    refused.assert_one_line(1, "ward.ops keeps its writers' times", "driftlog topics apply")


def test_a_registry_that_lost_its_schemas_is_what_is_blamed(patient: Shell, empty_broker: EmbeddedBroker) -> None:
    """Not who may write the topic."""
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("devices", "enrol", "store-1").assert_done()
    producer = Producer({"bootstrap.servers": empty_broker.bootstrap, "log_level": 0})
    producer.produce(topics.DEVICES, b"\x00" + (99_999_999).to_bytes(4) + b"a line", b"store-2", 0)
    assert producer.flush(30) == 0
    found = examined(patient, 1)[topics.DEVICES]
    assert "unknown_schema" in found["fact"]
    assert "bring its records back" in found["remedy"] and "who may write" not in found["remedy"]


def test_a_declaration_that_changes_what_values_mean_is_named(patient: Shell) -> None:
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("schemas", "register", "--app", "corner_shop:app").assert_done()
    patient.declare("ward", collection="Ward", price="str", default='""')
    found = examined(patient, 1)["driftlog.ward.Ward"]
    assert found["level"] == "wrong" and "price was declared as register of int" in found["fact"]
    assert "new name" in found["remedy"]


def test_what_nobody_merges_is_named_with_where_to_look(patient: Shell, empty_broker: EmbeddedBroker) -> None:
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("devices", "enrol", "store-1").assert_done()
    producer = Producer({"bootstrap.servers": empty_broker.bootstrap, "log_level": 0})
    for _ in range(3):
        producer.produce("ward.ops", b"anything", partition=1)
    assert producer.flush(30) == 0
    found = examined(patient, 1)["workers of ward"]
    assert (found["level"], found["fact"]) == ("wrong", "3 op records wait in partitions that no worker owns: 1")
    assert "driftlog worker" in found["remedy"] and "worker ends" in found["remedy"]


def test_a_root_that_is_not_pinned_is_a_note(patient: Shell) -> None:
    patient.run("topics", "apply", "--app", "corner_shop:app").assert_done()
    patient.run("devices", "enrol", "store-1").assert_done()
    unpinned = Shell(patient.folder, **{**settings_of(patient), "trust__root": ""})
    del unpinned._environment["DRIFTLOG_TRUST__ROOT"]
    found = examined(unpinned, 0)
    assert key_text(operator().certificate.root) in found["trust.root"]["remedy"]


def settings_of(shell: Shell) -> dict[str, str]:
    prefix = "DRIFTLOG_"
    return {k.removeprefix(prefix).lower(): v for k, v in shell._environment.items() if k.startswith(prefix)}


def keep_writers_times(bootstrap: str, topic: str) -> None:
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin_of(bootstrap).incremental_alter_configs([resource]).values():
        future.result(15)


def test_without_a_broker_the_cluster_is_what_is_wrong(alone: Shell) -> None:
    ended = alone.run("doctor", "--json")
    assert ended.code == 1
    whats = [found["what"] for found in Ended(ended.words, 0, ended.out, ended.err).data]
    assert whats == ["schema registry", "cluster"]
