"""Driftlog: edge-to-cloud replication on Kafka. Declare an app; edge agents and merge workers run it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from driftlog.app import App, Space
    from driftlog.client import AsyncClient, Client
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


_HOMES = {
    "driftlog.app": ("App", "Space"),
    "driftlog.document": ("Document",),
    "driftlog.errors": ("DeclarationError", "InvalidInput", "Refused"),
    "driftlog.reactions": ("Emit",),
    "driftlog.transaction": ("Transaction",),
    "driftlog.client": ("AsyncClient", "Client"),
    "driftlog_edge": ("EdgeAgent", "EdgeConfig"),
}
_HOME = dict.fromkeys(__all__, "driftlog.fields") | {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # A name is imported when it is first used: declaring an app takes no agent and none of its libraries, and most commands declare no app.
    if name not in _HOME:
        raise AttributeError(f"module 'driftlog' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
