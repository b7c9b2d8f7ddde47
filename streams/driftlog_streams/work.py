"""What merging has caused and nobody has published yet: the raw material of a flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftlog_streams.state_cache import Entry


class OutRecord(NamedTuple):
    """A record to publish. `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class PartitionWork:
    """Since the last flight, in one partition."""

    partition: int
    dirty: dict[bytes, Entry] = field(default_factory=dict)
    outcomes: list[OutRecord] = field(default_factory=list)
    """Rejections, parked commands, conflicts: delivered before any state."""
    receipts: list[OutRecord] = field(default_factory=list)
    """Of batches that were accepted whole: may travel with the states."""
    rejected: dict[bytes, list[tuple[str, int]]] = field(default_factory=dict)
    """Document key -> the dots that were refused on it."""
    group: int = -1
    """Offset of the last op record merged."""
    sources: list[Any] = field(default_factory=list)
    """What to acknowledge when all is done, in order; the rim knows what they are."""
    ops: int = 0

    @property
    def empty(self) -> bool:
        return not (self.sources or self.outcomes or self.dirty or self.receipts)
