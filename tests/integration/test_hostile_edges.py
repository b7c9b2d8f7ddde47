"""What a stranger may write into the topics that an agent reads, on a real broker: it goes on, online and when it starts, and counts what it passed over."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.reading.topic_reading import whole_topic
from tests.integration.conftest import LoadRun
from tests.integration.test_edges import PLACE, await_equal
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = pytest.mark.broker

SPOILED = 200
"""Records in each topic."""


def spoil(run: LoadRun, device: str, seed: int) -> None:
    """Records that are there, bent, and noise, tombstones among it; under their own keys and others'. Of the registry only our own device's."""
    source, space = random.Random(seed), run.space
    partition = partition_of(PLACE, space.partitions)
    kinds = (topics.state_topic, topics.receipts_topic, topics.conflicts_topic)
    places = [*((kind(space.name), space.partitions, partition) for kind in kinds), (topics.DEVICES, 1, 0)]
    producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    for topic, partitions, at in places:
        found = [(r.key, r.value) for p, r in whole_topic(run.bootstrap, topic, partitions) if p == at and r.value]
        mine = [(key, value) for key, value in found if topic != topics.DEVICES or key == device.encode()]
        for number in range(SPOILED):
            key, value = source.choice(mine) if mine and number % 2 else (b"stranger", b"\x00\x00\x00\x10\x11?")
            bent = bytearray(value or b"")
            place = source.randrange(1 + len(bent))
            bent[place : place + 1] = source.randbytes(source.randrange(3))
            producer.produce(topic, None if number % 10 == 9 else bytes(bent), key, at)
    assert producer.flush(30) == 0


def test_an_agent_goes_on_over_spoiled_records_of_every_topic_that_it_reads(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]
) -> None:
    # Not the session's broker: there everybody who reads the device registry would be told of what is spoiled here.
    run = load_run(restartable_broker.bootstrap)
    with run.worker("only"), run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        store.do("hit", place=PLACE, item="tea", times=10, wait="merged")
        await_equal(store, office, item="tea", hits=10)
        dispute(store, office)

        spoil(run, store.device.device_id, seed=1)
        until(lambda: store.status()["unreadable_records"] > 0, "what it cannot read is counted", 60, store.tail)
        store.do("hit", place=PLACE, item="tea", times=2, wait="merged")
        office.do("hit", place=PLACE, item="tea", times=3, wait="merged")
        await_equal(store, office, item="tea", hits=15)

        store.kill()
        spoil(run, store.device.device_id, seed=2)
        store.start()
        store.do("hit", place=PLACE, item="tea", times=4, wait="merged")
        office.do("hit", place=PLACE, item="tea", times=1, wait="merged")
        await_equal(store, office, item="tea", hits=20)
        until(lambda: store.status()["unreadable_records"] > 0, "and counted anew", 60, store.tail)
        assert all(conflict["versions"] for conflict in store.conflicts(everything=True))


def dispute(store: EdgeProcess, office: EdgeProcess) -> None:
    """Both name one thing without knowing of each other."""
    store.go_offline(True)
    store.do("name", place=PLACE, item="tea", label="green")
    office.do("name", place=PLACE, item="tea", label="white", wait="merged")
    store.go_offline(False)
    store.await_quiet()
    until(lambda: len(store.conflicts()) == len(office.conflicts()) == 1, "both know of the dispute", 90)
