"""Driftlog: edge-to-cloud replication on Kafka. Declare an app; edge agents and merge workers run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftlog.app import App, Space
from driftlog.document import Document
from driftlog.errors import DeclarationError, InvalidInput, Refused
from driftlog.fields import (
    AddWinsSet,
    BoundedCounter,
    Counter,
    Custom,
    Flag,
    GrowCounter,
    GrowSet,
    List,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Register,
    RemoveWinsSet,
    Text,
    field,
)
from driftlog.reactions import Emit
from driftlog.transaction import Transaction

__version__ = "0.1.0"

if TYPE_CHECKING:
    from driftlog.client import AsyncClient, Client
    from driftlog_edge import EdgeAgent, EdgeConfig

__all__ = [
    "AddWinsSet",
    "App",
    "AsyncClient",
    "BoundedCounter",
    "Client",
    "Counter",
    "Custom",
    "DeclarationError",
    "Document",
    "EdgeAgent",
    "EdgeConfig",
    "Emit",
    "Flag",
    "GrowCounter",
    "GrowSet",
    "InvalidInput",
    "List",
    "Map",
    "Max",
    "Min",
    "MultiValue",
    "Ranked",
    "Refused",
    "Register",
    "RemoveWinsSet",
    "Space",
    "Text",
    "Transaction",
    "field",
]


def __getattr__(name: str) -> Any:
    # The agent needs the `edge` extra; declaring an app does not.
    if name in ("EdgeAgent", "EdgeConfig"):
        import driftlog_edge

        return getattr(driftlog_edge, name)
    if name in ("AsyncClient", "Client"):
        from driftlog import client

        return getattr(client, name)
    raise AttributeError(f"module 'driftlog' has no attribute {name!r}")
