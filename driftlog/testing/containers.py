"""Kafka and Redpanda in containers, for running the same tests against them where Docker runs.

Both advertise an address that is only known once Docker has mapped the port, so the container first waits for a start
script, which is put in as soon as the port is known. Any image with the contract of `apache/kafka` will do (KAFKA_IMAGE).
"""

from __future__ import annotations

import io
import os
import tarfile
from typing import Self

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

_SCRIPT = "driftlog-start.sh"
_START_SECONDS = 90
_WAIT_FOR_SCRIPT = f'sh -c "while [ ! -f /tmp/{_SCRIPT} ]; do sleep 0.1; done; exec sh /tmp/{_SCRIPT}"'


class _ScriptedContainer(DockerContainer):
    """A container whose command is written when its mapped ports are known."""

    ready_line = ""

    def script(self) -> str:
        raise NotImplementedError

    def start(self) -> Self:
        super().start()
        content = self.script().encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo(_SCRIPT)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        self.get_wrapped_container().put_archive("/tmp", packed.getvalue())
        LogMessageWaitStrategy(self.ready_line).with_startup_timeout(_START_SECONDS).wait_until_ready(self)
        return self

    def address(self, port: int) -> str:
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(port)}"

    @property
    def bootstrap(self) -> str:
        return self.address(9092)


class KafkaContainer(_ScriptedContainer):
    """Apache Kafka, one KRaft node."""

    ready_line = "Kafka Server started"

    def __init__(self) -> None:
        super().__init__(os.environ.get("KAFKA_IMAGE", "apache/kafka:4.1.0"))
        self.with_exposed_ports(9092)
        self.with_command(_WAIT_FOR_SCRIPT)
        for name, value in _KAFKA.items():
            self.with_env(f"KAFKA_{name}", value)

    def script(self) -> str:
        advertised = f"PLAINTEXT://{self.bootstrap},BROKER://localhost:9093"
        return f"#!/bin/sh\nexport KAFKA_ADVERTISED_LISTENERS={advertised}\nexec /etc/kafka/docker/run\n"


_KAFKA = {
    "NODE_ID": "1",
    "PROCESS_ROLES": "broker,controller",
    "LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
    "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "INTER_BROKER_LISTENER_NAME": "BROKER",
    "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "AUTO_CREATE_TOPICS_ENABLE": "false",
    "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "MESSAGE_MAX_BYTES": "4194304",
}


class RedpandaContainer(_ScriptedContainer):
    """Redpanda, one node, with its own schema registry."""

    ready_line = "Successfully started Redpanda!"

    def __init__(self) -> None:
        super().__init__(os.environ.get("REDPANDA_IMAGE", "redpandadata/redpanda:v25.2.4"))
        self.with_exposed_ports(9092, 8081)
        self.with_kwargs(entrypoint="")
        self.with_command(_WAIT_FOR_SCRIPT)

    @property
    def registry_url(self) -> str:
        return f"http://{self.address(8081)}"

    def script(self) -> str:
        return (
            "#!/bin/sh\nexec rpk redpanda start --mode dev-container --smp 1 --memory 512M"
            " --kafka-addr external://0.0.0.0:9092,internal://0.0.0.0:29092"
            f" --advertise-kafka-addr external://{self.bootstrap},internal://localhost:29092"
            " --schema-registry-addr 0.0.0.0:8081"
            " --set redpanda.auto_create_topics_enabled=false\n"
        )
