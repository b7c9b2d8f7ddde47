"""What looking at topics leaves behind, in each of our clients: an agent, a console and a worker do it all the time, for months."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from functools import partial

import pytest
from confluent_kafka import KafkaException, Uuid

from driftlog.testing.servers import RunningBroker
from driftlog_edge.link.kafka_asker import KafkaAsker
from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.reading.changelog_reader import ChangelogReader
from tests.load.app import declare
from tests.load.ground import lay_topics
from tests.load.waiting import until

pytestmark = pytest.mark.broker

LOOKS = 10


def ids_alive() -> int:
    gc.collect()
    return sum(isinstance(found, Uuid) for found in gc.get_objects())


def left_by(look: Callable[[], object]) -> int:
    """How many ids are there after some looks that were not after the first."""
    look()
    before = ids_alive()
    for _ in range(LOOKS):
        look()
    return ids_alive() - before


def test_a_look_at_topics_leaves_nothing_in_memory(broker: RunningBroker, fresh_name: Callable[[str], str]) -> None:
    name = fresh_name("looks").replace("-", "_")
    lay_topics(broker.bootstrap, declare(name, 1).contract)
    wanted = [topics.ops_topic(name), topics.state_topic(name)]
    places = [(topic, 0) for topic in wanted]
    reader = ChangelogReader(broker.bootstrap)

    def led() -> bool:
        try:
            return bool(reader.ends(places))
        except KafkaException:  # just made
            return False

    async def asked() -> int:
        asker, loop = KafkaAsker(KafkaSettings(bootstrap=broker.bootstrap)), asyncio.get_running_loop()
        await asker.extents(places, 30)
        before = ids_alive()
        for _ in range(LOOKS):
            await asker.extents(places, 30)
        left = ids_alive() - before
        await loop.run_in_executor(None, asker.leave)
        return left

    until(led, "the topics have leaders", 60)
    assert asyncio.run(asked()) == 0
    assert left_by(partial(TopicsAdmin(broker.bootstrap).topic_ids, wanted)) == 0
    assert left_by(partial(reader.topic_ids, wanted)) == 0
