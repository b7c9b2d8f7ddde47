"""The topic of devices is made anew: workers that run put it back, and one that starts without it refuses nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.reading.changelog_reader import ChangelogReader
from tests.integration.conftest import LoadRun
from tests.load.waiting import until
from tests.made_anew import make_anew

pytestmark = [pytest.mark.broker, pytest.mark.slow]

LOST = "the topic of devices was lost"
PLACE = topics.DEVICES, 0


def lines(bootstrap: str) -> list[ChangelogRecord]:
    reader = ChangelogReader(bootstrap)
    return reader.records(*PLACE, range(reader.ends([PLACE])[PLACE]))


def names(records: Iterable[ChangelogRecord]) -> set[bytes]:
    return {record.key for record in records}


def bring_back(bootstrap: str, records: Iterable[ChangelogRecord]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for record in records:
        producer.produce(topics.DEVICES, record.value, record.key, 0)
    assert producer.flush(30) == 0


def remade(bootstrap: str) -> None:
    make_anew(
        bootstrap,
        NewTopic(topics.DEVICES, 1, 1, config={"cleanup.policy": "compact", topics.TIMES: topics.APPEND_TIME}),
    )


def test_devices_that_were_lost_are_put_back_and_nobody_is_refused_meanwhile(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]
) -> None:
    bootstrap = restartable_broker.bootstrap
    run = load_run(bootstrap, ops_per_batch=5)
    worker = run.worker("keeper")

    def merge_more() -> None:
        with run.feeder(200, records_per_second=100):
            pass
        run.group.await_drained(explain=worker.tail)

    with worker:
        merge_more()
        restartable_broker.stop()  # a client that saw two leaders gets nothing of a topic that begins with the first again
        restartable_broker.start()
        merge_more()
        backup = lines(bootstrap)
        remade(bootstrap)
        until(lambda: names(lines(bootstrap)) == names(backup), "all lines are put back", 90, worker.tail)
        merge_more()
        assert worker.stop() == 0
    remade(bootstrap)
    with worker:
        until(lambda: LOST in worker.log.read_text(), "it says what is missing", 90, worker.tail)
        bring_back(bootstrap, backup)
        merge_more()
        assert worker.stop() == 0
    found = run.judge()
    assert found.good, found
