"""What merging causes, as values: records for four topics, writes for the store, sources to acknowledge.

The core never touches Kafka or RocksDB. It yields these, in the order that `flight` keeps, and whoever drives it (the Faust
worker, the simulation) carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from driftlog_streams.state_cache import Entry


class Channel(Enum):
    """Which topic of the space; the value is the last part of its name."""

    STATE = "state"
    RECEIPTS = "receipts"
    CONFLICTS = "conflicts"
    PARKED = "parked"


class Record(NamedTuple):
    """One record to publish, in the partition it belongs to. `value` None is a tombstone."""

    channel: Channel
    partition: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class StateWrite(NamedTuple):
    """One state for the store, in the bytes that were published."""

    key: bytes
    value: bytes


class Source(NamedTuple):
    """A merged op record: what to acknowledge. `token` is the driver's own (its event)."""

    offset: int
    token: Any


@dataclass(frozen=True, slots=True)
class SealedPart:
    """One partition's share of a flight: what its sources caused, encoded, and the sources themselves."""

    partition: int
    outcomes: tuple[Record, ...]
    """Rejections, parked commands, conflicts: before any state that covers them."""
    states: tuple[Record, ...]
    """The group, in a row; the last one is marked."""
    receipts: tuple[Record, ...]
    """Receipts in which all is accepted: with the states."""
    releases: tuple[Record, ...]
    """Tombstones of parked commands whose states are published: after the states."""
    sources: tuple[Source, ...]
    group: int
    """Offset of the newest op record merged into this part."""
    ops: int
    entries: tuple[tuple[Entry, int], ...] = field(default=(), repr=False)
    """The cached documents of `states`, pinned until they are stored, each with how many of its rejected dots this part tells."""

    @property
    def writes(self) -> list[StateWrite]:
        """What the store takes."""
        return [StateWrite(r.key, r.value) for r in self.states if r.value is not None]
