"""Every way in that the settings know, against a broker that has it: SCRAM with and without TLS, and client certificates.

One broker listens three times. Command line, worker (librdkafka and aiokafka) and agent are told nothing but a settings file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from driftlog_infra import EmbeddedBroker
from driftlog_infra.ports import LOOPBACK, free_port
from driftlog_infra.security import Security
from tests.copies import Copy
from tests.integration.cli.shell import Shell
from tests.load.waiting import until

pytestmark = pytest.mark.broker

USER, PASSWORD = "scram-user", "gr33n-tea, leaves"

_LISTENERS = """listeners=SASL_SSL://{host}:{port},SASL_PLAINTEXT://{host}:{plain},SSL://{host}:{tls},CONTROLLER://{host}:{control}
advertised.listeners=SASL_SSL://{host}:{port},SASL_PLAINTEXT://{host}:{plain},SSL://{host}:{tls}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@{host}:{control}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.ssl.ssl.client.auth=required
"""
_SCRAM = """listener.name.{listener}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class Ways(NamedTuple):
    """Where the broker listens, and what lets a client in."""

    security: Security
    password_file: Path
    scram_tls: str
    scram_plain: str
    certificates: str

    def settings(self, way: str) -> dict[str, Any]:
        """The table [kafka] of a way in."""
        scram = {"sasl_username": USER, "sasl_password_file": str(self.password_file)}
        trust = {"ca_file": str(self.security.authority)}
        key = {"certificate_file": str(self.security.certificate), "key_file": str(self.security.key)}
        return {
            "scram-sha-256": {
                "bootstrap": self.scram_plain,
                "security_protocol": "sasl_plaintext",
                "sasl_mechanism": "SCRAM-SHA-256",
                **scram,
            },
            "scram-sha-512": {
                "bootstrap": self.scram_tls,
                "security_protocol": "sasl_ssl",
                "sasl_mechanism": "SCRAM-SHA-512",
                **scram,
                **trust,
            },
            "certificate": {"bootstrap": self.certificates, "security_protocol": "ssl", **trust, **key},
            "no certificate": {"bootstrap": self.certificates, "security_protocol": "ssl", **trust},
        }[way]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("ways")
    security = Security(folder / "security")
    port, plain, tls, control = free_port(), free_port(), free_port(), free_port()
    lines = _LISTENERS.format(host=LOOPBACK, port=port, plain=plain, tls=tls, control=control) + "".join(
        _SCRAM.format(listener=listener, mechanism=mechanism)
        for listener in ("sasl_ssl", "sasl_plaintext")
        for mechanism in ("scram-sha-256", "scram-sha-512")
    )
    password_file = folder / "password"
    password_file.write_text(PASSWORD + "\n")
    with EmbeddedBroker(port=port, security=security, properties=lines) as broker:
        admin = AdminClient(broker.kafka.client())
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # a request may name a user once
            made = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            admin.alter_user_scram_credentials([made])[USER].result(30)
        yield Ways(security, password_file, *(f"{LOOPBACK}:{at}" for at in (port, plain, tls)))


@pytest.fixture
def shell_of(tmp_path: Path, registry_url: str, ways: Ways) -> Callable[..., Shell]:
    """A shell whose settings file names one way in."""

    def make(way: str, **other: str) -> Shell:
        table = {**ways.settings(way), **other}
        lines = ["[kafka]", *(f'{name} = "{value}"' for name, value in table.items())]
        (tmp_path / "driftlog.toml").write_text("\n".join([*lines, "[registry]", f'url = "{registry_url}"']))
        return Shell(tmp_path, config=str(tmp_path / "driftlog.toml"), schema_cache=str(tmp_path / "schemas"))

    return make


@pytest.mark.parametrize("way", ["scram-sha-256", pytest.param("scram-sha-512", marks=pytest.mark.deep), "certificate"])
def test_a_write_goes_round(shell_of: Callable[..., Shell], fresh_name: Callable[[str], str], way: str) -> None:
    shell = shell_of(way)
    app, device = shell.declare(fresh_name("ways").replace("-", "_")), fresh_name("store")
    shell.run("topics", "apply", "--app", app).assert_done()
    shell.run("devices", "enrol", device, "--out", "id.json").assert_done()
    url = f"http://{LOOPBACK}:{free_port()}"
    agent = ("--identity", "id.json", "--data-dir", "replica", "--scope", "s1", "--http-port", url.rpartition(":")[2])
    running: list[Copy] = []

    def logs() -> str:
        return "\n".join((shell.folder / name).read_text()[-2000:] for name in ("worker.log", "edge.log"))

    try:
        running.append(shell.start("worker", "--app", app, log=shell.folder / "worker.log"))
        running.append(shell.start("edge", "run", "--app", app, *agent, log=shell.folder / "edge.log"))
        do = ("edge", "do", "receive", "store=s1", "sku=tea", "qty=4", "--key", "1", "--wait", "merged", "--url", url)
        until(lambda: shell.run(*do).code == 0, "the write is merged", 90, logs)
        caught_up = shell.run("edge", "catch-up", "--timeout", "60", "--url", url, "--json").data
        assert caught_up["in_step"] is True
        assert list(caught_up["scopes"])
        got = shell.run("edge", "get", "Stock", "s1", "tea", "--consistency", "strong", "--url", url, "--json").data
        assert got["value"]["on_hand"] == 4
    finally:
        for process in running:
            process.terminate()
        assert [process.wait(60) for process in running] == [0, 0]
    assert PASSWORD not in logs()


@pytest.mark.parametrize(
    "way", ["scram-sha-256", pytest.param("scram-sha-512", marks=pytest.mark.deep), "no certificate"]
)
def test_who_cannot_show_the_secret_is_told_in_one_line(
    shell_of: Callable[..., Shell], tmp_path: Path, way: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("t0p-s3cret-but-wrong")
    shell = shell_of(way, **({} if way == "no certificate" else {"sasl_password_file": str(wrong)}))
    ended = shell.run("topics", "plan", "--app", shell.declare("vault"))
    ended.assert_one_line(1, "no Kafka broker" if way == "no certificate" else "does not let us in")
    assert "t0p-s3cret" not in ended.err
