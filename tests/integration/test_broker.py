"""The embedded broker and registry as a developer meets them: start, stop, crash, start again, and every way to be refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from driftlog.testing.servers import RunningBroker
from driftlog_infra import EmbeddedBroker, EmbeddedRegistry, server
from driftlog_infra.claim import Claim, holder
from driftlog_infra.errors import FolderBusy, FolderUnusable, PortTaken, StartFailed
from driftlog_infra.ports import free_port
from driftlog_infra.process import is_alive, start_time
from driftlog_infra.server import EmbeddedServer
from tests.admin_clients import admin_of

pytestmark = pytest.mark.broker


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "driftlog_infra.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In a home with a name as people have them: no file of the servers' own is read in ASCII alone."""
    folder = tmp_path / "Zoë Müller's files" / "data"
    yield folder
    cli("down", "--data", str(folder))


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may come to: root runs PostgreSQL as another one, who may not enter pytest's own."""
    with tempfile.TemporaryDirectory(prefix="driftlog-servers-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        folder = Path(made) / "ünï" / "data"
        yield folder
        cli("down", "--data", str(folder))


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.max.bytes": 4_000_000})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"reads-{topic}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [message.value() for message in messages]


def create(bootstrap: str, topic: str) -> None:
    for future in admin_of(bootstrap).create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(15)


def wait_until(fact: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.1)
    return fact()


def test_records_go_in_and_come_out(broker: RunningBroker, make_topic: Callable[..., str]) -> None:
    topic = make_topic("records")
    produce(broker.bootstrap, topic, b"one", b"x" * (1 << 20))
    assert consume(broker.bootstrap, topic, 2) == [b"one", b"x" * (1 << 20)]


def test_topics_are_not_made_by_a_typo(broker: RunningBroker, fresh_name: Callable[[str], str]) -> None:
    admin = admin_of(broker.bootstrap)
    admin.list_topics(fresh_name("typo"), timeout=10)
    assert fresh_name("typo") not in admin.list_topics(timeout=10).topics


def test_registry_refuses_a_schema_that_breaks_readers(registry_url: str, fresh_name: Callable[[str], str]) -> None:
    def schema(*fields: Mapping[str, object]) -> Schema:
        return Schema(json.dumps({"type": "record", "name": "Sale", "fields": fields}), "AVRO")

    first = schema({"name": "id", "type": "string"})
    client, subject = SchemaRegistryClient({"url": registry_url}), fresh_name("sale")
    assert client.register_schema(subject, first) == client.register_schema(subject, first)
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, schema({"name": "id", "type": "string"}, {"name": "qty", "type": "long"}))
    assert refused.value.http_status_code == 409


@pytest.mark.parametrize("end", [pytest.param("stop", marks=pytest.mark.deep), "kill"])
def test_what_was_acknowledged_is_there_after_a_restart(restartable_broker: EmbeddedBroker, end: str) -> None:
    create(restartable_broker.bootstrap, "kept")
    produce(restartable_broker.bootstrap, "kept", b"before")
    bootstrap = restartable_broker.bootstrap
    getattr(restartable_broker, end)()
    assert not restartable_broker.running
    restartable_broker.start()
    assert restartable_broker.bootstrap == bootstrap
    assert consume(bootstrap, "kept", 1) == [b"before"]


def test_schemas_survive_a_restart(tmp_path: Path) -> None:
    text = json.dumps({"type": "record", "name": "Kept", "fields": []})
    with EmbeddedRegistry(tmp_path) as registry:
        kept = SchemaRegistryClient({"url": registry.url}).register_schema("kept", Schema(text, "AVRO"))
    with EmbeddedRegistry(tmp_path) as again:
        assert SchemaRegistryClient({"url": again.url}).lookup_schema("kept", Schema(text, "AVRO")).schema_id == kept


def test_up_status_down(folder: Path) -> None:
    up = cli("up", "--data", str(folder), "--port", "0", "--registry-port", "0", "--json")
    assert up.returncode == 0, up.stderr
    started = json.loads(up.stdout)
    assert started["broker"]["answers"] and started["registry"]["answers"]

    assert json.loads(cli("status", "--data", str(folder), "--json").stdout) == started
    again = cli("up", "--data", str(folder), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, started)
    elsewhere = cli("up", "--data", str(folder), "--port", str(free_port()))
    assert elsewhere.returncode == 1
    assert f"held by process {started['broker']['pid']}" in elsewhere.stderr

    assert cli("down", "--data", str(folder)).returncode == 0
    stopped = json.loads(cli("status", "--data", str(folder), "--json").stdout)
    assert (stopped["running"], stopped["bootstrap"], stopped["registry_url"]) == (False, None, None)
    assert cli("down", "--data", str(folder)).stdout == "not running\n"


@pytest.mark.deep
def test_a_node_of_three_that_died_comes_back_into_its_cluster(folder: Path) -> None:
    up = ("up", "--data", str(folder), "--no-registry", "--json")
    assert cli(*up, "--nodes", "2").returncode == 2
    first = cli(*up, "--nodes", "3", "--port", "0")
    assert first.returncode == 0, first.stderr
    nodes = json.loads(first.stdout)["nodes"]
    bootstrap = json.loads(first.stdout)["bootstrap"]
    assert bootstrap == ",".join(node["address"] for node in nodes) and len(nodes) == 3
    os.kill(nodes[1]["pid"], signal.SIGKILL)
    assert wait_until(
        lambda: json.loads(cli("status", "--data", str(folder), "--json").stdout)["nodes"][1]["pid"] is None
    )
    for future in admin_of(bootstrap).create_topics([NewTopic("two", 1, 2)]).values():
        future.result(90)  # a controller may have to be chosen first
    again = cli(*up)
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)["nodes"]
    assert [node["address"] for node in found] == [node["address"] for node in nodes]
    assert [node["pid"] == was["pid"] for node, was in zip(found, nodes, strict=True)] == [True, False, True]
    assert wait_until(lambda: len(admin_of(found[1]["address"]).list_topics(timeout=10).brokers) == 3)
    other = cli(*up, "--nodes", "1")
    assert other.returncode == 1
    assert "holds a cluster of 3 nodes" in other.stderr
    assert len(json.loads(cli("down", "--data", str(folder), "--json").stdout)["stopped"]) == 3


@pytest.mark.deep
def test_a_crashed_server_leaves_nothing_in_the_way(folder: Path) -> None:
    first = json.loads(cli("up", "--data", str(folder), "--port", "0", "--no-registry", "--json").stdout)
    os.kill(first["broker"]["pid"], signal.SIGKILL)
    assert wait_until(lambda: not json.loads(cli("status", "--data", str(folder), "--json").stdout)["running"])
    second = cli("up", "--data", str(folder), "--port", "0", "--no-registry", "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["broker"]["pid"] != first["broker"]["pid"]


def test_a_broker_that_died_alone_is_started_again_beside_its_registry(folder: Path) -> None:
    first = json.loads(cli("up", "--data", str(folder), "--port", "0", "--registry-port", "0", "--json").stdout)
    os.kill(first["broker"]["pid"], signal.SIGKILL)
    assert wait_until(lambda: not json.loads(cli("status", "--data", str(folder), "--json").stdout)["running"])
    again = cli("up", "--data", str(folder), "--json")
    assert again.returncode == 0, again.stderr
    second = json.loads(again.stdout)
    assert second["broker"]["pid"] != first["broker"]["pid"]
    assert (second["registry"], second["bootstrap"]) == (first["registry"], first["bootstrap"])


@pytest.mark.parametrize("kind", [EmbeddedBroker, EmbeddedRegistry])
def test_a_port_lost_while_starting_is_named(
    kind: type[EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "require_free", lambda *_: None)  # somebody takes it just after the look
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} for the {kind.what} is taken") as refused:
            kind(tmp_path, port).start()
    assert "WARN" in (refused.value.__cause__.log_tail if isinstance(refused.value.__cause__, StartFailed) else "")


def test_a_recycled_pid_is_never_stopped(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (folder / "kafka").mkdir(parents=True)
        stale = {"pid": innocent.pid, "started": "1", "server": True, "port": 1, "address": "127.0.0.1:1"}
        (folder / "kafka" / "server.lock").write_text(json.dumps(stale))
        assert cli("down", "--data", str(folder)).stdout == "not running\n"
        assert innocent.poll() is None
        innocent.kill()


def test_half_formatted_folder_is_formatted_anew(tmp_path: Path) -> None:
    (tmp_path / "data" / "bootstrap").mkdir(parents=True)
    (tmp_path / "data.formatting").mkdir()
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.running
    assert (tmp_path / "data" / "meta.properties").exists()
    assert not (tmp_path / "data" / "bootstrap").exists()


@pytest.mark.deep
def test_a_folder_is_laid_as_kafka_formats_it(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "tool", properties="\n") as asked, EmbeddedBroker(tmp_path / "kept") as laid:
        assert asked.answers() and laid.answers()
    by_the_tool, by_us = (meta_of(tmp_path / name / "data") for name in ("tool", "kept"))
    assert by_us.pop("directory.id") != by_the_tool.pop("directory.id")
    assert by_us == by_the_tool
    sizes = [(tmp_path / name / "data" / "bootstrap.checkpoint").stat().st_size for name in ("tool", "kept")]
    assert sizes[0] == sizes[1] > 0


def meta_of(logs: Path) -> dict[str, str]:
    lines = (logs / "meta.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_folder_with_records_is_never_formatted(tmp_path: Path) -> None:
    segment = tmp_path / "data" / "retail.ops-0" / "00000000000000000000.log"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"precious")
    with pytest.raises(FolderUnusable, match=r"no meta\.properties"), EmbeddedBroker(tmp_path):
        pass
    assert segment.read_bytes() == b"precious"


def test_taken_port_is_one_line_and_changes_nothing(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = cli("up", "--data", str(folder), "--port", "0", "--registry-port", str(port))
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"error: port {port} for the schema registry is taken; "
        "stop what listens there, or choose another with --registry-port"
    ]
    assert not folder.exists()


def test_port_taken_by_another_broker(restartable_broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(PortTaken), EmbeddedBroker(tmp_path, restartable_broker.port):
        pass


def test_two_brokers_on_one_folder(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as first:
        with pytest.raises(FolderBusy, match=f"held by process {first.pid}"), EmbeddedBroker(tmp_path):
            pass
        assert first.answers()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.deep)])
def test_ephemeral_ends_with_a_signal(number: signal.Signals) -> None:
    with start_ephemeral() as program:
        started = json.loads(program.stdout.readline() if program.stdout else "")
        program.send_signal(number)
        assert program.wait(30) == 0
    assert start_time(started["broker"]["pid"]) is None


def test_ephemeral_ends_when_its_program_is_killed() -> None:
    with start_ephemeral() as program:
        started = json.loads(program.stdout.readline() if program.stdout else "")
        pid = started["broker"]["pid"]
        born = start_time(pid) or pytest.fail("the broker does not run")
        data = Path(f"/proc/{pid}/fd/1").readlink().parent if Path("/proc/self/fd").exists() else None
        program.kill()
    assert wait_until(lambda: not is_alive(pid, born))
    assert data is None or wait_until(lambda: not data.exists())


def start_ephemeral() -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "driftlog_infra.cli",
        "up",
        "--ephemeral",
        "--port",
        "0",
        "--no-registry",
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_start_in_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(broker.start).result()
    time.sleep(0.5)
    assert broker.running and broker.answers()
    assert (found := holder(tmp_path)) is not None and found.pid == broker.pid
    broker.close()
    assert holder(tmp_path) is None


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.deep),
        pytest.param(signal.SIGTERM, marks=pytest.mark.deep),
        signal.SIGKILL,
    ],
)
def test_interrupted_start_leaves_nothing_running(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "driftlog_infra.cli", "up", "--data", str(folder), "--port", "0", "--no-registry"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        log = folder / "kafka" / "broker.log"
        assert wait_until(log.exists)
        program.send_signal(number)
        assert program.wait(30) != 0
    assert wait_until(lambda: is_unclaimed(folder / "kafka"))


def is_unclaimed(folder: Path) -> bool:
    try:
        Claim(folder).withdraw()
    except FolderBusy:
        return False
    return True


def test_a_postgres_comes_with_them_secured_as_they_are_and_is_found_again(reachable: Path) -> None:
    ports = ("--port", "0", "--no-registry", "--postgres", "--postgres-port", "0", "--secure")
    started = cli("up", "--data", str(reachable), *ports, "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    url, password = told["postgres"]["address"], Path(told["postgres"]["password_file"])
    table = tomllib.loads(Path(told["settings"]).read_text())["postgres"]
    assert (table["url"], table["password_file"]) == (url, str(password))
    with psycopg.connect(url, password=password.read_text(), sslmode="verify-full", sslrootcert=table["ca_file"]) as it:
        it.execute("CREATE TABLE kept (n int)")
    assert "postgres   postgresql://driftlog@127.0.0.1" in cli("status", "--data", str(reachable)).stdout
    os.kill(told["postgres"]["pid"], signal.SIGKILL)
    assert wait_until(
        lambda: json.loads(cli("status", "--data", str(reachable), "--json").stdout)["postgres"]["pid"] is None
    )
    up = cli("up", "--data", str(reachable), "--no-registry", "--postgres", "--json")
    assert up.returncode == 0, up.stderr
    again = json.loads(up.stdout)
    assert again["postgres"]["address"] == url and again["broker"]["pid"] == told["broker"]["pid"]
    with psycopg.connect(url, password=password.read_text(), sslmode="require") as it:
        assert it.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert cli("down", "--data", str(reachable)).returncode == 0
    assert json.loads(cli("status", "--data", str(reachable), "--json").stdout)["postgres"]["running"] is False


def test_a_port_for_a_postgres_that_is_not_asked_for_is_wrong_usage(folder: Path) -> None:
    refused = cli("up", "--data", str(folder), "--postgres-port", "5433")
    assert refused.returncode == 2 and "--postgres" in refused.stderr
