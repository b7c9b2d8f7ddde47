"""Servers without an installer: a real Apache Kafka, a real schema registry and a real PostgreSQL, run from pinned, checksummed files.

Names are imported when they are first used: the warden process and `--help` need none of the libraries behind them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftlog_infra.broker import EmbeddedBroker
    from driftlog_infra.errors import InfraError
    from driftlog_infra.postgres import EmbeddedPostgres
    from driftlog_infra.registry import EmbeddedRegistry

__all__ = ["EmbeddedBroker", "EmbeddedPostgres", "EmbeddedRegistry", "InfraError"]

_HOMES = {
    "EmbeddedBroker": "broker",
    "EmbeddedPostgres": "postgres",
    "EmbeddedRegistry": "registry",
    "InfraError": "errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
