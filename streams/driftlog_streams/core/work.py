"""What merging has caused and nobody has published yet: the raw material of a flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftlog_crdt import Place
from driftlog_streams.core.state_cache import Entry


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
    size: int = 0
    """About how many bytes the changed documents take."""
    outcomes: list[OutRecord] = field(default_factory=list)
    """Rejections, parked commands, conflicts: delivered before any state."""
    contested: dict[tuple[bytes, Place], None] = field(default_factory=dict)
    """Document key and place of every conflict that has changed and not ended: published as it stands when the flight is made."""
    receipts: list[OutRecord] = field(default_factory=list)
    """Of batches that were accepted whole: may travel with the states."""
    tombstones: list[OutRecord] = field(default_factory=list)
    """Of parked commands decided in this work: published when its states are stored, never before."""
    told: dict[bytes, int] = field(default_factory=dict)
    """Document key -> how many of its rejected dots this flight is the first to tell."""
    on_stored: Callable[[list[OutRecord]], None] | None = None
    """Takes the tombstones then."""
    group: int = -1
    """Offset of the last op record merged."""
    sources: list[Any] = field(default_factory=list)
    """What to acknowledge when all is done, in order; the rim knows what they are."""
    ops: int = 0
    duplicates: int = 0
    rejections: int = 0
    parked: int = 0
    again: int = 0
    """documents published again because somebody else had written over them"""

    def changed(self, key: bytes, entry: Entry) -> None:
        """A document has changed for the first time in this work."""
        self.dirty[key] = entry
        self.size += entry.size
        entry.flights += 1

    def stored(self) -> None:
        """All of it is delivered and in the store."""
        for key, entry in self.dirty.items():
            entry.landed(self.told.get(key, 0))
        if self.tombstones and self.on_stored is not None:
            self.on_stored(self.tombstones)

    @property
    def empty(self) -> bool:
        return not (self.sources or self.outcomes or self.dirty or self.receipts or self.tombstones)
