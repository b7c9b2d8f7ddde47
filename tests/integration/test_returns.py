"""A state topic that is made anew, or whose log no longer has what follows: the agent finds the way back in by itself.

No worker runs while the topic changes; what it holds then is written here, as a worker would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import groups, topics
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import StateCodec
from tests.admin_clients import admin_of
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION, PARTITIONS
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.made_anew import end_of, make_anew

pytestmark = pytest.mark.broker

PLACE = "market"
PARTITION = partition_of(PLACE, PARTITIONS)


def remade(run: LoadRun) -> None:
    """The state topic is deleted and made again, empty."""
    state = topics.state_topic(run.space.name)
    make_anew(run.bootstrap, NewTopic(state, PARTITIONS, 1, config={"cleanup.policy": "compact"}))


def publish(run: LoadRun, first_group: int, hits: Mapping[str, int]) -> None:
    """One group for each item, with that many hits by somebody else. All are in the log that is there now, not in the one before."""
    codec = StateCodec(run.space.collections[COLLECTION], run.ids)
    rules = codec.collection.document
    producer = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
    taken: list[int | None] = []
    for number, (item, count) in enumerate(hits.items()):
        document, state = DocumentId(COLLECTION, PLACE, item), rules.new()
        stamp = time.time_ns() // 1_000_000 << 16
        rules.apply(state, rules.prepare(state, "office.aaaaaaaa", stamp, "hits", "increment", count))
        producer.produce(
            topics.state_topic(run.space.name),
            codec.encode(document, state),
            document_key(document),
            PARTITION,
            headers=groups.headers(first_group + number, last=True),
            on_delivery=lambda _, message: taken.append(message.offset()),
        )
    assert producer.flush(30) == 0
    last = taken[-1]
    assert last is not None

    def end() -> int | None:
        return end_of(run.bootstrap, topics.state_topic(run.space.name), PARTITION)

    until(lambda: end() == last + 1, f"the log has what was taken, to {last}", 30, lambda: f"It ends at {end()}.")


def shown(edge: EdgeProcess) -> dict[str, int]:
    page = edge.client().get(f"/v1/documents/{COLLECTION}/{PLACE}").json()["documents"]
    return {each["value"]["item"]: each["value"]["hits"] for each in page}


def strong(edge: EdgeProcess, item: str) -> int:
    """What a strong read is answered. While the topic is away there is no way to the cloud, and a read is told so at once."""
    answers = []

    def answered() -> bool:
        where = f"/v1/documents/{COLLECTION}/{PLACE}/{item}"
        answers.append(edge.client(60).get(where, params={"consistency": "strong", "timeout": "40s"}))
        return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

    until(answered, "there is a way to the cloud again", 60, edge.tail)
    return int(answers[-1].raise_for_status().json()["value"]["hits"])


def returned(edge: EdgeProcess, wanted: Mapping[str, int]) -> None:
    until(lambda: shown(edge) == wanted, f"it shows {wanted}", 60, lambda: f"{shown(edge)}{edge.tail()}")
    until(lambda: edge.status()["read_again"] == {}, "nothing is read again", 90, edge.tail)


@pytest.mark.parametrize("longer", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["shorter", "longer"])
def test_a_state_topic_is_made_anew_under_a_running_agent(on_broker: Callable[..., LoadRun], longer: bool) -> None:
    run = on_broker()
    with run.edge(0, PLACE) as edge:
        publish(run, 0, {f"old-{n}": n + 1 for n in range(20)})
        until(lambda: len(shown(edge)) == 20, "it has the old rows", 60, edge.tail)
        edge.do("hit", place=PLACE, item="mine", times=7)
        wanted = {f"new-{n}": 100 + n for n in range(50 if longer else 5)}
        remade(run)
        publish(run, 0, wanted)
        assert strong(edge, "new-0") == 100, "no strong read is answered from the old life"
        returned(edge, {**wanted, "mine": 7})


def test_a_state_topic_that_other_brokers_have_led_is_made_anew_under_a_running_agent(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]
) -> None:
    run = load_run(restartable_broker.bootstrap)
    with run.edge(0, PLACE) as edge:
        publish(run, 0, {f"old-{n}": n + 1 for n in range(20)})
        until(lambda: len(shown(edge)) == 20, "it has the old rows", 60, edge.tail)
        restartable_broker.stop()
        restartable_broker.start()
        publish(run, 20, {"led-by-another": 1})
        until(lambda: "led-by-another" in shown(edge), "it goes on", 60, edge.tail)
        until(lambda: edge.status()["connection"] == "ONLINE", "it is online", 60, edge.tail)
        remade(run)
        wanted = {f"new-{n}": 100 + n for n in range(5)}
        publish(run, 0, wanted)
        returned(edge, wanted)
        publish(run, 10, {"later": 1})
        returned(edge, {**wanted, "later": 1})


@pytest.mark.deep
def test_a_state_topic_is_made_anew_while_the_agent_is_down(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.edge(0, PLACE) as edge:
        publish(run, 0, {f"old-{n}": n + 1 for n in range(20)})
        until(lambda: len(shown(edge)) == 20, "it has the old rows", 60, edge.tail)
        assert edge.stop() == 0
        remade(run)
        wanted = {f"new-{n}": 100 + n for n in range(50)}
        publish(run, 0, wanted)
        edge.start()
        returned(edge, wanted)
        publish(run, 100, {"later": 1})
        returned(edge, {**wanted, "later": 1})
        assert edge.stop() == 0
        edge.start()
        assert edge.status()["read_again"] == {}, "once is enough"
        assert shown(edge) == {**wanted, "later": 1}


def test_the_log_begins_after_what_was_read(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    name = topics.state_topic(run.space.name)
    policy = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[policy])
    admin_of(run.bootstrap).incremental_alter_configs([changed])[
        changed
    ].result()  # of what is only compacted the broker takes no beginning away
    with run.edge(0, PLACE) as edge:
        publish(run, 0, {f"old-{n}": n + 1 for n in range(5)})
        until(lambda: len(shown(edge)) == 5, "it has the old rows", 60, edge.tail)
        edge.do("hit", place=PLACE, item="mine", times=7)
        assert edge.stop() == 0
        publish(run, 5, {f"lost-{n}": n + 1 for n in range(5)})
        publish(run, 10, {"kept": 3})
        place = TopicPartition(name, PARTITION, 10)
        admin_of(run.bootstrap).delete_records([place])[place].result()
        edge.start()
        returned(edge, {"kept": 3, "mine": 7})

        # While it runs the log may lose what was read already: nothing is missed by that.
        publish(run, 11, {"after": 4})
        until(lambda: "after" in shown(edge), "it follows", 60, edge.tail)
        place = TopicPartition(name, PARTITION, 12)
        admin_of(run.bootstrap).delete_records([place])[place].result()
        assert strong(edge, "after") == 4
        assert shown(edge) == {"kept": 3, "mine": 7, "after": 4}
