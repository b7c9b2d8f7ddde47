"""Driftlog: edge-to-cloud replication on Kafka. Declare an app; edge agents and merge workers run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftlog.app import App, Space
from driftlog.document import Document
from driftlog.errors import DeclarationError, InvalidInput, Refused
from driftlog.fields import AddWinsSet, Counter, Register
from driftlog.fields import field_options as field
from driftlog.transaction import Transaction

if TYPE_CHECKING:
    from driftlog_edge import EdgeAgent, EdgeConfig

__all__ = [
    "AddWinsSet",
    "App",
    "Counter",
    "DeclarationError",
    "Document",
    "EdgeAgent",
    "EdgeConfig",
    "InvalidInput",
    "Refused",
    "Register",
    "Space",
    "Transaction",
    "field",
]


def __getattr__(name: str) -> Any:
    # The agent needs the `edge` extra; declaring an app does not.
    if name in ("EdgeAgent", "EdgeConfig"):
        import driftlog_edge

        return getattr(driftlog_edge, name)
    raise AttributeError(f"module 'driftlog' has no attribute {name!r}")
