"""`driftlog parked`: what is set aside is listed and shown, and a quarantined record comes again as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from driftlog.testing.servers import RunningBroker
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.messages import Batch, ParkedCommand, Quarantined
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.signing import Identity
from driftlog_streams.core.net import ONE_COMMAND
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.unit.streams.cloud import command, count, stock

pytestmark = pytest.mark.broker

APP = ("--app", "tests.load.app:app")
RECORD = b"\x00\x00\x00\x00\x07a record as it came"
WAITS = "store-1.a/2/waits"


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> LoadRun:
    """A space in which one command is parked, one was released, one record is quarantined; and noise."""
    return on_broker()


@pytest.fixture
def shell(run: LoadRun, beside: Callable[[LoadRun], Shell], broker: RunningBroker) -> Shell:
    space, codecs = run.space.name, RecordCodecs(run.ids)
    body = encode_body(Batch(space, 0, "store-1.a", 2, (command("waits", count(stock(), 1, 2, "store-1.a")),)))
    record = BatchCodec(run.ids).seal(body, Identity.create("store-1"))
    parked = codecs.encode_parked(ParkedCommand(1_750_000_000_000, 4, "waits", record))
    kept = codecs.encode_quarantined(
        Quarantined(
            code="unknown_schema",
            reason="the registry was away",
            partition=1,
            offset=17,
            append_ms=1_750_000_000_001,
            replica="",
            record=RECORD,
        )
    )
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for topic, partition, key, value in (
        (topics.parked_topic(space), 0, WAITS.encode(), parked),
        (topics.parked_topic(space), 0, b"store-1.a/1/gone", parked),
        (topics.parked_topic(space), 0, b"store-1.a/1/gone", None),
        (topics.parked_topic(space), 0, b"noise", b"no Avro at all"),
        (topics.quarantine_topic(space), 1, b"store-2", kept),
        (topics.quarantine_topic(space), 1, b"\xff", b"no Avro at all"),
    ):
        producer.produce(topic, value, key, partition)
    assert producer.flush(30) == 0
    return beside(run)


def test_what_is_set_aside_is_listed_and_shown(shell: Shell) -> None:
    waits, kept = shell.run("parked", "list", *APP, "--json").data
    assert (waits["id"], waits["what"], waits["device_id"]) == (WAITS, "parked", "store-1")
    assert waits["documents"] == ["Stock/s1/tea"]
    assert (kept["id"], kept["what"], kept["code"], kept["bytes"]) == (
        "1:17",
        "quarantined",
        "unknown_schema",
        len(RECORD),
    )
    assert WAITS in shell.run("parked", "list", *APP).out
    assert shell.run("parked", "show", WAITS, *APP, "--json").data == waits
    assert "the registry was away" in shell.run("parked", "show", "1:17", *APP).out
    shell.run("parked", "show", "9:9", *APP).assert_failed(1, "nothing of id '9:9'", "parked list")


def test_a_quarantined_record_comes_again_as_it_was(shell: Shell, run: LoadRun, broker: RunningBroker) -> None:
    shell.run("parked", "retry", WAITS, *APP).assert_failed(1, "waits for an earlier change", "by itself")
    assert shell.run("parked", "retry", "1:17", *APP, "--json").data["partition"] == 1
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": run.space.name, "log_level": 0})
    consumer.assign([TopicPartition(topics.ops_topic(run.space.name), 1, 0)])
    found = consumer.consume(1, 20)
    consumer.close()
    assert [(message.key(), message.value()) for message in found] == [(b"store-2", RECORD)]
    assert [one["id"] for one in shell.run("parked", "list", *APP, "--json").data] == [WAITS]


def test_what_a_person_has_seen_leaves_the_list_and_what_waits_does_not(shell: Shell) -> None:
    shell.run("parked", "drop", WAITS, *APP).assert_failed(1, "in the workers' name", "--cloud-identity")
    assert shell.run("parked", "drop", "1:17", *APP, "--json").data["id"] == "1:17"
    assert [one["id"] for one in shell.run("parked", "list", *APP, "--json").data] == [WAITS]
    shell.run("parked", "drop", "1:17", *APP).assert_failed(1, "nothing of id '1:17'", "parked list")


def test_a_command_that_was_quarantined_by_itself_is_its_devices_to_send_again(
    shell: Shell, run: LoadRun, broker: RunningBroker
) -> None:
    codecs = RecordCodecs(run.ids)
    kept = Quarantined(ONE_COMMAND, "KeyError", 1, 18, 1_750_000_000_002, "store-2.a", RECORD)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    producer.produce(topics.quarantine_topic(run.space.name), codecs.encode_quarantined(kept), b"store-2", 1)
    assert producer.flush(30) == 0
    shell.run("parked", "retry", "1:18", *APP).assert_failed(1, "would change nothing", "sends it again by itself")
