"""Three brokers and three workers: what is acknowledged is on two of them, and a broker that is killed costs nothing but a moment.

The cluster is the embedded one, each node a broker and a controller, so that any two of them go on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka.admin import NewTopic

from driftlog_infra import EmbeddedBroker, local
from driftlog_schemas import topics
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.admin_clients import admin_of
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.waiting import until
from tests.made_anew import end_of, make_anew

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]

SIZE = 3
PLACES = ("place-north", "place-south")


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[EmbeddedBroker]]:
    """Three brokers of one cluster."""
    servers = local.servers(None, 0, 0, detached=False, nodes=SIZE, registry=False)
    nodes = [server for server in servers if isinstance(server, EmbeddedBroker)]
    assert len(nodes) == SIZE
    local.start_all(nodes, quiet=True)
    try:
        yield nodes
    finally:
        local.close_all(nodes)


@pytest.fixture(scope="module")
def bootstrap(cluster: list[EmbeddedBroker]) -> str:
    return ",".join(node.bootstrap for node in cluster)


def leading_controller(cluster: list[EmbeddedBroker]) -> int:
    """The number of the node whose controller leads the others, as one of those that run has written it down."""
    running = next(node for node in cluster if node.running)
    state = running.folder / "data" / "__cluster_metadata-0" / "quorum-state"
    return int(json.loads(state.read_text())["leaderId"])


def coordinator(bootstrap: str, space: str) -> int:
    """The number of the node where the workers' group meets: the one that leads the group's partition, as Kafka counts it.

    An admin client that is asked for a group keeps to a coordinator that is gone, and may be aborted (librdkafka 2.16).
    """
    hashed = 0
    for letter in f"driftlog-merge-{space}":
        hashed = (31 * hashed + ord(letter)) & 0xFFFFFFFF
    partitions = (
        admin_of(bootstrap).list_topics("__consumer_offsets", timeout=15).topics["__consumer_offsets"].partitions
    )
    return int(partitions[(hashed & 0x7FFFFFFF) % len(partitions)].leader)


def leads(bootstrap: str, topic: str) -> set[int]:
    """The numbers of the nodes that lead partitions of the topic."""
    partitions = admin_of(bootstrap).list_topics(topic, timeout=15).topics[topic].partitions
    return {partition.leader for partition in partitions.values()}


def leads_one(bootstrap: str, topic: str, partition: int) -> set[int]:
    """The number of the node that leads the partition; of none: no leader is known."""
    return {admin_of(bootstrap).list_topics(topic, timeout=15).topics[topic].partitions[partition].leader}


def whole(bootstrap: str, names: list[str]) -> bool:
    """Is every copy of every partition up to date?"""
    found = admin_of(bootstrap).list_topics(timeout=15).topics
    return all(len(p.isrs) == SIZE for name in names for p in found[name].partitions.values())


def test_topics_apply_keeps_as_many_copies_as_the_cluster_allows(
    bootstrap: str, registry_url: str, fresh_name: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shell")
    shell = Shell(folder, bootstrap=bootstrap, registry=registry_url, schema_cache=str(folder / "schemas"))
    space = fresh_name("triple").replace("-", "_")
    applied = shell.run("topics", "apply", "--app", shell.declare(space, partitions=1), "--json").data
    assert (applied["cluster"]["brokers"], applied["replication"], applied["note"]) == (SIZE, SIZE, "")
    wanted = [topics.DEVICES, topics.ops_topic(space), topics.state_topic(space), topics.receipts_topic(space)]
    for made in TopicsAdmin(bootstrap).existing(wanted).values():
        assert (made.replication, made.settings[topics.MIN_INSYNC]) == (SIZE, "2"), made


@pytest.mark.deep
def test_nodes_that_are_killed_under_load_lose_nothing_and_stop_nobody(
    cluster: list[EmbeddedBroker], bootstrap: str, load_run: Callable[..., LoadRun], full: bool
) -> None:
    run = load_run(bootstrap, ops_per_batch=10, repeated=0.01, session_timeout=10.0)
    ops = topics.ops_topic(run.space.name)
    copied = [ops, topics.state_topic(run.space.name), topics.receipts_topic(run.space.name)]
    for made in TopicsAdmin(bootstrap).existing(copied).values():
        assert (made.replication, made.settings[topics.MIN_INSYNC]) == (SIZE, "2"), made
    sold = dict.fromkeys(PLACES, 0)
    hosts = [run.host(name) for name in ("first", "second", "third")]
    edges = [run.edge(number, *PLACES) for number in range(2)]

    def logs() -> str:
        return "".join(program.tail() for program in (*hosts, *edges))

    def sell() -> None:
        for edge, place in zip(edges, PLACES, strict=True):
            edge.do("hit", place=place, item="tea")
            sold[place] += 1

    chance = random.Random(3)
    victims = [
        lambda: coordinator(bootstrap, run.space.name),
        lambda: leading_controller(cluster),
        lambda: chance.choice(sorted(leads(bootstrap, ops))),
        lambda: chance.randint(1, SIZE),
    ]
    with ExitStack() as running:
        for program in (*hosts, *edges):
            running.enter_context(program)
        with run.feeder(10_000_000, records_per_second=50):
            run.group.await_owners(SIZE, 120, explain=logs)
            for turn in range(10 if full else 1):
                run.group.await_progress(100, 120, explain=logs)
                sell()
                number = victims[turn % len(victims)]()
                cluster[number - 1].kill()
                sell()
                run.group.await_progress(100, 120, explain=logs)
                until(lambda: number not in leads(bootstrap, ops), "others lead", 60, logs)  # noqa: B023  # ends in this turn
                cluster[number - 1].start()
                until(lambda: whole(bootstrap, copied), "all copies are up to date", 120, logs)
            run.workload.stop()
        sell()
        for edge in edges:
            edge.await_quiet()
        run.group.await_drained(explain=logs)
        for edge in edges:
            until(
                lambda: {place: edge.read(place, "tea")["value"]["hits"] for place in PLACES} == sold,  # noqa: B023
                f"{edge.device.device_id} has it all",
                90,
                edge.tail,
            )
        assert all(program.running for program in (*hosts, *edges))
        assert [program.stop() for program in (*hosts, *edges)] == [0] * 5
    found = run.judge(others=sum(sold.values()))
    assert found.good, found


@pytest.mark.deep
def test_an_op_topic_that_is_made_anew_on_another_node_is_written_to_by_agents_that_run(
    cluster: list[EmbeddedBroker], bootstrap: str, load_run: Callable[..., LoadRun]
) -> None:
    """A client that knew the log before would go on sending to the node that led it (see `made_anew`)."""
    run = load_run(bootstrap)
    ops, place = topics.ops_topic(run.space.name), PLACES[0]
    partition = partition_of(place, run.space.partitions)
    next(iter(run.workload.records(1)))  # no worker registers the schemas of what is sent

    def sent() -> int:
        return end_of(bootstrap, ops, partition) or 0

    with run.edge(0, place) as edge:
        edge.do("hit", place=place, item="tea")
        until(lambda: sent() > 0, "it is sent", 60, edge.tail)
        (first,) = leads_one(bootstrap, ops, partition)
        cluster[first - 1].kill()
        until(lambda: first not in leads_one(bootstrap, ops, partition), "another leads", 60)
        cluster[first - 1].start()
        until(lambda: whole(bootstrap, [ops]), "all copies are up to date", 120)
        edge.do("hit", place=place, item="tea")
        until(lambda: sent() > 1, "it is sent to whoever leads", 60, edge.tail)
        until(lambda: edge.status()["connection"] == "ONLINE", "it is online", 60, edge.tail)
        (second,) = leads_one(bootstrap, ops, partition)
        other = next(number for number in range(1, SIZE + 1) if number not in (first, second))
        make_anew(
            bootstrap, NewTopic(ops, run.space.partitions, replica_assignment=[[other, first]] * run.space.partitions)
        )
        edge.do("hit", place=place, item="tea")
        until(lambda: sent() > 0, "it is sent into the new log", 60, edge.tail)
        assert "the client starts anew" not in edge.tail(100), "nothing had to be waited out"
