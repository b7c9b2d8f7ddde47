"""What an agent answers: to a command, and to a read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from driftlog_schemas.contract import Json

Consistency: TypeAlias = Literal["eventual", "causal", "strong"]
Wait: TypeAlias = Literal["disk", "shipped", "merged"]
Durability: TypeAlias = Literal["disk", "os"]

DEFAULT_TIMEOUT = 5.0
"""Seconds."""


MAX_CALLS = 1000
"""Commands that may be given together."""


class Call(NamedTuple):
    """One of several commands that are given together."""

    command: str
    arguments: Mapping[str, Any]
    command_id: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command."""

    command_id: str
    status: str
    result: Json
    dots: tuple[tuple[str, str, int], ...]
    session: str
    code: str = ""
    reason: str = ""
    waiting_for: str = ""
    """What it waits for that is not decided: `network`, `power`, `wifi`, the rhythm of its collection (`5m`), `cloud`, `change`, `review`, `outbox`,
    `life` or `release` (see `asking/waiting`)."""
    waiting_until: int | None = None
    """When it leaves at the latest, in epoch milliseconds by the device's clock; None where nobody can tell."""


class Merged(NamedTuple):
    """How far this replica has read a partition of states at a moment at which a write was merged there."""

    place: str
    """`space/partition`, as heartbeats name it."""
    offset: int
    """The next to be read; who is as far has seen the write."""
    topic_id: str
    """Of the topic that counts the offsets."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document as this replica sees it, and how fresh that is. Ages in seconds; None before the first contact."""

    id: str
    value: dict[str, Json]
    document: Any
    """The typed, read-only document of the app."""
    version: Mapping[str, int]
    pending: int
    synced_at: int | None
    age_seconds: float | None
    stale: bool
    """Older than the collection's `max_age`, or of an age that nobody knows."""
    conflicts: tuple[str, ...]
    session: str


class Page(NamedTuple):
    """Documents of one scope, in id order."""

    documents: list[tuple[str, Reading]]
    more: bool
    """May there be more behind them?"""
    evicted: int
    """Documents between them that are not here, for they made room; each can be read by itself while there is a way to the cloud."""
