"""Three brokers: what is acknowledged is on two of them, and one that is killed costs nothing but a moment.

The cluster is the embedded broker three times, each a controller too, so that any two of them go on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from driftlog_infra import EmbeddedBroker
from driftlog_infra.ports import LOOPBACK, free_port
from driftlog_schemas import topics
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.load.waiting import until

pytestmark = pytest.mark.broker

SIZE = 3
_NODE = """node.id={node}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{control}
controller.quorum.voters={voters}
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[EmbeddedBroker]]:
    """Three brokers of one cluster."""
    ports, controls = [[free_port() for _ in range(SIZE)] for _ in range(2)]
    voters = ",".join(f"{node}@{LOOPBACK}:{control}" for node, control in enumerate(controls, 1))
    brokers = [
        EmbeddedBroker(
            port=port,
            properties=_NODE.format(node=node, host=LOOPBACK, port=port, control=control, voters=voters),
        )
        for node, (port, control) in enumerate(zip(ports, controls, strict=True), 1)
    ]
    with ExitStack() as stack, ThreadPoolExecutor(SIZE) as pool:  # each is ready when two are
        for broker in brokers:
            stack.callback(broker.close)
        for broker in brokers:
            stack.callback(
                broker.kill
            )  # before they are closed: the last one would wait for a quorum to leave in order
        for started in [pool.submit(broker.start) for broker in brokers]:
            started.result()
        yield brokers


def leader_of(bootstrap: str, topic: str, partition: int) -> int:
    metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(topic, timeout=15)
    return metadata.topics[topic].partitions[partition].leader


def test_a_broker_that_is_killed_loses_nothing_and_stops_nobody(
    cluster: list[EmbeddedBroker], registry_url: str, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap = ",".join(broker.bootstrap for broker in cluster)
    shell = Shell(tmp_path, bootstrap=bootstrap, registry=registry_url, schema_cache=str(tmp_path / "schemas"))
    space = fresh_name("triple").replace("-", "_")
    app = shell.declare(space, partitions=1)
    applied = shell.run("topics", "apply", "--app", app, "--json").data
    assert (applied["cluster"]["brokers"], applied["replication"], applied["note"]) == (3, 3, "")
    wanted = [topics.DEVICES, topics.ops_topic(space), topics.state_topic(space), topics.receipts_topic(space)]
    for made in TopicsAdmin(bootstrap).existing(wanted).values():
        assert (made.replication, made.settings[topics.MIN_INSYNC]) == (3, "2"), made
    shell.run("devices", "enrol", "store-1", "--out", "id.json").assert_done()
    url = f"http://{LOOPBACK}:{free_port()}"
    agent = ("--identity", "id.json", "--data-dir", "replica", "--scope", "s1", "--http-port", url.rpartition(":")[2])
    running: list[subprocess.Popen[bytes]] = []

    def logs() -> str:
        return "\n".join((tmp_path / name).read_text()[-2000:] for name in ("worker.log", "edge.log"))

    def write(key: str, wait: str) -> int:
        words = ("edge", "do", "receive", "store=s1", "sku=tea", "qty=1", "--key", key, "--wait", wait, "--url", url)
        return shell.run(*words).code

    def on_hand() -> int:
        got = shell.run("edge", "get", "Stock", "s1", "tea", "--consistency", "strong", "--url", url, "--json")
        return int(got.data["value"]["on_hand"]) if got.code == 0 else -1

    try:
        running.append(shell.start("worker", "--app", app, log=tmp_path / "worker.log"))
        running.append(shell.start("edge", "run", "--app", app, *agent, log=tmp_path / "edge.log"))
        until(lambda: write("0", "merged") == 0, "the first write is merged", 90, logs)
        for killed_for in (topics.ops_topic(space), topics.state_topic(space)):
            victim = cluster[leader_of(bootstrap, killed_for, 0) - 1]
            assert write(f"before-{killed_for}", "shipped") == 0
            victim.kill()
            assert write(f"without-{killed_for}", "disk") == 0
            until(lambda: write(f"without-{killed_for}", "merged") == 0, "two brokers go on", 90, logs)  # noqa: B023  # ends in this turn
            victim.start()
        until(lambda: on_hand() == 5, "every write counts once", 60, logs)
    finally:
        for process in running:
            process.terminate()
        assert [process.wait(60) for process in running] == [0, 0]
    for partition in (
        AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=15).topics[wanted[1]].partitions.values()
    ):
        assert len(partition.replicas) == SIZE
