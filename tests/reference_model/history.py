"""A history: what each writer meant, and what it had seen when it wrote. The partial order is `past`, nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Dot = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Event:
    """One op as its writer meant it. `past` holds the dots of all ops that the writer had seen, its own too.

    `refused` says why it has no effect, if so. `believed` are the refused ops of its writer that the writer took for accepted.
    `idle` are edits of a text or list all of whose ground was refused.
    """

    replica: str
    seq: int
    hlc: int
    field: str
    kind: str
    value: Any
    past: frozenset[Dot]
    refused: str | None = None
    believed: frozenset[Dot] = frozenset()
    idle: bool = False

    @property
    def dot(self) -> Dot:
        return (self.replica, self.seq)

    @property
    def clock(self) -> tuple[int, str, int]:
        return (self.hlc, self.replica, self.seq)


def saw(later: Event, earlier: Event) -> bool:
    """Had the writer of `later` seen `earlier`?"""
    return earlier.dot in later.past


def concurrent(one: Event, other: Event) -> bool:
    return one.dot != other.dot and not saw(one, other) and not saw(other, one)


def text(value: Any) -> str:
    """Two values are the same when their JSON is."""
    return json.dumps(value, sort_keys=True)


def maximal(events: list[Event]) -> list[Event]:
    """Those that nobody among `events` had seen when writing."""
    return [e for e in events if not any(saw(other, e) for other in events)]


def surviving(events: list[Event], policy: str) -> list[Event]:
    """The ops that have an effect: not refused, not idle, and not taken by a delete under the policy."""
    deletes = [e for e in events if e.field == "" and e.kind == "delete" and not e.refused]
    writes = [e for e in events if not (e.field == "" and e.kind == "delete") and not e.refused and not e.idle]
    if policy == "delete-wins":
        return [e for e in writes if all(saw(e, delete) for delete in deletes)]
    return [e for e in writes if not any(saw(delete, e) for delete in deletes)]
