"""Servers without an installer: a real Apache Kafka and a real schema registry, run from pinned, checksummed jars."""

from driftlog_infra.broker import EmbeddedBroker
from driftlog_infra.errors import InfraError
from driftlog_infra.registry import EmbeddedRegistry

__all__ = ["EmbeddedBroker", "EmbeddedRegistry", "InfraError"]
