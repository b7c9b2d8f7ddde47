"""Everything over TLS with a user: the embedded servers as `driftlog broker up --secure` runs them, and every program against them.

Nobody is told anything but the settings file: command line, worker (librdkafka and aiokafka), agent. What does not know the password, or does
not trust the authority, gets nothing, and says so in one line without the password in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from driftlog_infra import local
from driftlog_infra.ports import free_port
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.settings import ConnectionSettings
from tests.admin_clients import kept
from tests.copies import Copy
from tests.integration.cli.shell import Shell
from tests.load.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def settings_file() -> Iterator[Path]:
    """Both servers, secured; the settings file that goes with them."""
    servers = local.servers(None, 0, 0, detached=False, secure=True)
    local.start_all(servers, quiet=True)
    try:
        found = local.status_of(servers, None)
        local.write_settings(found)
        assert found.settings is not None
        yield found.settings
    finally:
        local.close_all(servers)


@pytest.fixture
def shell(tmp_path: Path, settings_file: Path) -> Shell:
    return Shell(tmp_path, config=str(settings_file), schema_cache=str(tmp_path / "schemas"))


def changed(settings_file: Path, folder: Path, **kafka: str) -> str:
    """The settings file with other facts about Kafka."""
    lines = []
    for line in settings_file.read_text().splitlines():
        name = line.partition(" = ")[0]
        lines.append(f"{name} = {json.dumps(kafka.pop(name))}" if name in kafka else line)
    assert not kafka, "only what is there can be changed"
    path = folder / "changed.toml"
    path.write_text("\n".join(lines))
    return str(path)


def test_a_write_goes_round_over_tls_with_a_user(shell: Shell) -> None:
    app = shell.declare("vault")
    shell.run("topics", "apply", "--app", app).assert_done()
    shell.run("devices", "enrol", "store-1", "--out", "id.json").assert_done()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    agent = ("--identity", "id.json", "--data-dir", "replica", "--scope", "s1", "--http-port", str(port))
    running: list[Copy] = []
    try:
        running.append(shell.start("worker", "--app", app, log=shell.folder / "worker.log"))
        running.append(shell.start("edge", "run", "--app", app, *agent, log=shell.folder / "edge.log"))
        until(lambda: answers(url), "the agent answers", 60, (shell.folder / "edge.log").read_text)
        do = ("edge", "do", "receive", "store=s1", "sku=tea", "qty=4", "--key", "1", "--wait", "merged", "--url", url)
        until(lambda: shell.run(*do).code == 0, "the write is merged", 90, (shell.folder / "worker.log").read_text)
        got = shell.run("edge", "get", "Stock", "s1", "tea", "--consistency", "strong", "--url", url, "--json").data
        assert got["value"]["on_hand"] == 4
        assert shell.run("conflicts", "list", "--app", app, "--json").data == []
        assert [line["device_id"] for line in shell.run("devices", "list", "--json").data] == ["store-1"]
    finally:
        for process in running:
            process.terminate()
        assert [process.wait(60) for process in running] == [0, 0]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:  # not listening yet
        return False


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("a wrong password", ("does not let us in", "Invalid username or password", "kafka.sasl_username")),
        ("no password", ("no Kafka broker answers", "kafka.security_protocol")),
        ("another authority", ("does not let us in", "certificate verify failed", "kafka.ca_file")),
    ],
)
def test_who_is_not_let_in_is_told_in_one_line(
    shell: Shell, settings_file: Path, tmp_path: Path, what: str, told: tuple[str, ...]
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("t0p-s3cret-but-wrong")
    app = shell.declare("vault")
    if what == "a wrong password":
        config = changed(settings_file, tmp_path, sasl_password_file=str(wrong))
    elif what == "another authority":
        foreign = local.security_of(tmp_path / "foreign")
        foreign.ensure()
        config = changed(settings_file, tmp_path, ca_file=str(foreign.authority))
    else:
        bootstrap = ConnectionSettings.load(settings_file).kafka.bootstrap
        (tmp_path / "plain.toml").write_text(f'[kafka]\nbootstrap = "{bootstrap}"\n')
        config = str(tmp_path / "plain.toml")
    ended = shell.run("topics", "plan", "--app", app, "--config", config)
    ended.assert_one_line(1, *told)
    assert "t0p-s3cret" not in ended.err


def test_there_is_no_plain_way_in(settings_file: Path) -> None:
    bootstrap = ConnectionSettings.load(settings_file).kafka.bootstrap
    for settings in (KafkaSettings(bootstrap=bootstrap), KafkaSettings(bootstrap=bootstrap, security_protocol="ssl")):
        client = kept(AdminClient({**settings.client(), "log_level": 0}))
        with pytest.raises(KafkaException):
            client.list_topics(timeout=3)


def test_secrets_lie_in_files_of_their_owner(settings_file: Path) -> None:
    folder = settings_file.parent
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in folder.iterdir()} == dict.fromkeys(
        ("ca.key", "ca.pem", "driftlog.toml", "password", "server.crt", "server.key", "server.pem"), "0o0"
    )
    assert (folder.parent / "server.properties").stat().st_mode & 0o077 == 0
