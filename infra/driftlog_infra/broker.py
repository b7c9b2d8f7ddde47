"""The embedded broker: a node of Apache Kafka in KRaft mode, alone or one of several (see `membership`), loopback only; plain, or with TLS and a
user (see `security`).

Kafka formats a data folder once (see `formatted`). A crash in the middle of that leaves a folder that is neither empty nor usable, so the
folder is formatted under another name and renamed whole. A folder found without Kafka's own mark (`meta.properties`) is
formatted anew only where no log segment in it holds a byte; else it is left alone and reported.

Settings that are not Kafka's defaults, and why: topics are made by the project's own tool, never by a typo
(`auto.create.topics.enable`); internal topics have few partitions, and no more copies than there are nodes; a new consumer
group need not wait for more members; a killed broker is let in again after the session timeout of its former self, so
that is shorter than usual; a controller that has nothing to say says so every five seconds and not twice in one, which was half of what a broker
computed while nobody used it; memory for cleaning is small. Nodes are stopped all at once, so none hands over in order
(`controlled.shutdown.enable`): the last ones would wait for a majority that is gone.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from driftlog_infra import artifacts, class_cache, formatted
from driftlog_infra.errors import FolderUnusable, StartFailed
from driftlog_infra.java import class_path, java
from driftlog_infra.membership import Member, drawn
from driftlog_infra.ports import LOOPBACK
from driftlog_infra.properties import in_ascii, path_value
from driftlog_infra.security import USER, Security
from driftlog_infra.server import EmbeddedServer
from driftlog_schemas.connection import KafkaSettings

CLUSTER_ID = "ZHJpZnRsb2ctZW1iZWRkZQ"
_FORMAT_SECONDS = 60.0
BROKER_HEAP = "320m"
NODE_HEAP = "256m"
"""Of one of several, which share a machine."""

_LOG4J = """status=warn
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=C
"""

_PROPERTIES = """process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={listener}://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners={listener}://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map={listener}:{listener},CONTROLLER:PLAINTEXT
inter.broker.listener.name={listener}
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={min_insync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={min_insync}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
controlled.shutdown.enable={alone}
metadata.max.idle.interval.ms=5000
log.cleaner.dedupe.buffer.size=8388608
message.max.bytes=4194304
num.network.threads=2
num.io.threads=4
"""

_SECURE = """ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="{user}" password="{password}" user_{user}="{password}";
"""


class EmbeddedBroker(EmbeddedServer):
    """One Kafka node over one data folder. `folder=None` makes an ephemeral one that goes when it is closed."""

    what: ClassVar[str] = "Kafka broker"
    port_option: ClassVar[str] = "--port"
    artifact: ClassVar[str] = "kafka"
    log_name: ClassVar[str] = "broker"
    misreads: ClassVar[str] = ","
    ready_seconds: ClassVar[float] = 60.0

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        *,
        heap: str = BROKER_HEAP,
        detached: bool = False,
        security: Security | None = None,
        member: Member | None = None,
        properties: str = "",
    ) -> None:
        """`member` says which node of a cluster it is, None for a node alone. `properties`: further lines of Kafka's own, for other ways in; of two for
        one name the last counts."""
        super().__init__(folder, port, detached=detached, security=security)
        self._heap = heap
        self._member = member
        self._properties = properties

    @property
    def bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return self.authority

    @property
    def kafka(self) -> KafkaSettings:
        """How a client is let in."""
        return KafkaSettings(bootstrap=self.bootstrap) if self.security is None else self.security.kafka(self.bootstrap)

    @property
    def address(self) -> str:
        return self.bootstrap

    def fetch(self, *, quiet: bool) -> None:
        artifacts.fetch(self.artifact, quiet=quiet)

    def prepare(self) -> Sequence[str]:
        classpath = class_path(artifacts.fetch(self.artifact, quiet=True))
        log4j, properties = self.folder / "log4j2.properties", self.folder / "server.properties"
        log4j.write_text(_LOG4J)
        if self.security is not None:
            self.security.ensure()
        logs = self.folder / "data"
        self._write_properties(properties, logs)
        self._format_once(logs, classpath)
        logging = f"-Dlog4j2.configurationFile={log4j.as_uri()}"
        command = ("-cp", classpath, logging, "kafka.Kafka", str(properties))
        return java(*command, heap=self._heap, classes=self.class_flags)

    def _write_properties(self, path: Path, logs: Path) -> Path:
        listener = "PLAINTEXT" if self.security is None else "SASL_SSL"
        member = self._member or drawn(1)[0]
        text = _PROPERTIES.format(
            host=LOOPBACK, port=self.port, logs=path_value(logs), listener=listener,
            node=member.node, controller=member.controller, voters=member.voters,
            replication=member.replication, min_insync=member.min_insync, alone=str(len(member.controllers) == 1).lower(),
        )  # fmt: skip
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)  # the user's password will stand in it
        path.write_text(in_ascii(text + self._secured() + self._properties))
        return path

    def _format_once(self, logs: Path, classpath: str) -> None:
        if (logs / "meta.properties").exists():
            return
        if logs.exists():
            if holds_records(logs):
                raise FolderUnusable(
                    f"{logs} has no meta.properties, yet it holds records",
                    "restore that file from a backup, or move the folder away to begin anew",
                )
            shutil.rmtree(logs)
        fresh = logs.with_name("data.formatting")
        shutil.rmtree(fresh, ignore_errors=True)
        if self._properties or not formatted.lay(self.artifact, fresh, (self._member or drawn(1)[0]).node):
            self._format(fresh, logs, classpath)
        fresh.rename(logs)

    def _format(self, fresh: Path, logs: Path, classpath: str) -> None:
        """By Kafka's own tool. What it writes is kept, unless further properties may have a say in it."""
        properties = self._write_properties(self.folder / "format.properties", fresh)
        tool = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
        try:
            done = self.run_tool(
                java("-cp", classpath, *tool, classes=class_cache.reading(self.artifact)), _FORMAT_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise StartFailed(f"Kafka did not format {logs} within {_FORMAT_SECONDS:.0f} s", "try again") from error
        if done.returncode != 0:
            output = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise StartFailed(f"Kafka could not format {logs}: {output[-1][:300]}", "choose another folder with --data")
        if not self._properties:
            formatted.keep(self.artifact, fresh)

    def _secured(self) -> str:
        security = self.security
        if security is None:
            return ""
        password = security.password_file.read_text()
        keystore, authority = path_value(security.keystore), path_value(security.authority)
        return _SECURE.format(keystore=keystore, authority=authority, user=USER, password=password)

    def answers(self) -> bool:
        return self.known_nodes() > 0

    def known_nodes(self) -> int:
        """How many nodes of the cluster this one knows to be up; 0 if it does not answer."""
        try:
            client = AdminClient({**self.kafka.client(), "log_level": 0, "socket.timeout.ms": 2000})
        except ValidationError:  # its secrets are not written yet
            return 0
        try:
            return len(client.list_topics(timeout=0.5).brokers)
        except KafkaException:  # not listening yet; whoever asks again bounds how long
            return 0


def holds_records(logs: Path) -> bool:
    """Whether any log segment under a Kafka data folder has content."""
    return any(segment.stat().st_size for segment in logs.rglob("*.log"))
