"""An agent on a real broker tells the fleet how it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.topics import HEARTBEATS
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"


def last_words(run: LoadRun, device: str) -> Heartbeat | None:
    """The latest heartbeat of a device."""
    codecs = RecordCodecs(run.ids)
    consumer = Consumer({"bootstrap.servers": run.bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(HEARTBEATS, 0, 0)])
    found = None
    try:
        while (message := consumer.poll(10)) is not None and message.error() is None:
            value = message.value()
            if message.key() == device.encode() and value is not None:
                found = codecs.decode_heartbeat(value)
    finally:
        consumer.close()
    return found


def test_an_agent_that_comes_online_sends_a_heartbeat(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as edge:
        edge.do("hit", place=PLACE, item="tea", wait="merged")
        device = edge.device.device_id
        until(lambda: last_words(run, device) is not None, "a heartbeat is there", 60, edge.tail)
        beat = last_words(run, device)
        assert beat is not None
        assert (beat.device_id, beat.replica, beat.connection) == (device, edge.status()["replica"], "ONLINE")
        assert beat.disk_bytes > 0
        until(lambda: edge.status()["connection"] == "ONLINE", "a quiet link stays online", 90, edge.tail)
