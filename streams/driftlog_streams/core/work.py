"""What merging has caused and nobody has published yet: the raw material of a flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftlog_schemas.messages import Call, ChainRow, Taken
from driftlog_schemas.tuples import maker
from driftlog_streams.core.admission import Admission
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.conflict_pace import Spot
from driftlog_streams.core.state_cache import Entry


class OutRecord(NamedTuple):
    """A record to publish. `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


out_record = maker(OutRecord)


class Merged(NamedTuple):
    """A record of the op topic, as it was given to the merge. `source` is what the rim acknowledges."""

    admission: Admission
    offset: int
    append_ms: int
    source: Any


@dataclass(slots=True)
class PartitionWork:
    """Since the last flight, in one partition."""

    partition: int
    merged: list[Merged] = field(default_factory=list)
    """In order: to acknowledge when all is done, and to merge again should some of it prove impossible to publish."""
    dirty: dict[bytes, Entry] = field(default_factory=dict)
    size: int = 0
    """About how many bytes the changed documents take."""
    outcomes: list[OutRecord] = field(default_factory=list)
    """Conflicts, parked commands, refusals, quarantined records: delivered before any state."""
    contested: dict[Spot, None] = field(default_factory=dict)
    """Document key and place of every conflict that has changed and not ended: as it stands when the flight is made it is published, or owed."""
    ended: set[Spot] = field(default_factory=set)
    """Of those that have ended."""
    due: dict[Spot, None] = field(default_factory=dict)
    """Owed for long enough; they leave whatever is merged."""
    rows: dict[str, ChainRow | None] = field(default_factory=dict)
    """Chain rows as they are now, by replica; None where one is removed."""
    urgent: set[str] = field(default_factory=set)
    """Replicas whose row must be delivered before any state; the others' may travel with the states."""
    bases: dict[str, ChainRow | None] = field(default_factory=dict)
    """The rows as the last flight had them."""
    taken: dict[str, dict[bytes, Taken]] = field(default_factory=dict)
    """Decided commands of lives that are over, by the life: in its row when the flight is made."""
    carried: list[OutRecord] = field(default_factory=list)
    """Tombstones whose flight is stored, and answers to what somebody else wrote: they leave whatever is merged."""
    parked: list[Arrival] = field(default_factory=list)
    emptied: set[str] = field(default_factory=set)
    """Scopes of which documents were purged."""
    digests: dict[str, int | None] = field(default_factory=dict)
    """Of the scopes that it changes, once it is sealed."""
    disputes: Mapping[bytes, Collection[bytes]] = field(default_factory=dict)
    """The conflicts of the documents that it changes, once it is sealed."""
    ends: dict[bytes, bytes] = field(default_factory=dict)
    """Of those that have ended: name of the record -> the record."""
    released: list[Arrival] = field(default_factory=list)
    """Their tombstones are published when the states are stored, never before."""
    dropped: list[Arrival] = field(default_factory=list)
    """Who was given up, as they waited before."""
    again: set[bytes] = field(default_factory=set)
    """Documents published again because somebody else had written over them."""
    rows_again: set[str] = field(default_factory=set)
    """Replicas whose rows are, likewise."""
    answers: int = -1
    """Which answers to somebody else's words leave with it, those before included; the mender counts them."""
    kept: bool | None = None
    """Is all of it delivered and in the store, or was it taken back?"""
    on_stored: Callable[[PartitionWork], None] = field(default=lambda work: None)
    group: int = -1
    """Offset of the last op record merged."""
    ops: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Commands that were rejected, by code."""
    unsupported: int = 0
    """Batches of a version of the app that is not supported any more."""
    settled: int = 0
    """Conflicts that their deadline has ended."""
    quarantined: int = 0
    emitted: list[tuple[int, Call]] = field(default_factory=list)
    """Commands that reactions call for, each with the partition that it goes to."""
    failed_reactions: int = 0
    """Reactions, and commands that they have called for, that were set aside."""
    cloned: int = 0
    """New lives that were one too many for their device."""

    def changed(self, entry: Entry) -> None:
        """A document has changed for the first time in this work."""
        self.dirty[entry.key] = entry
        entry.recount()
        self.size += entry.size
        entry.flights += 1

    @property
    def sources(self) -> list[Any]:
        """What to acknowledge, in order."""
        return [record.source for record in self.merged if record.source is not None]

    def stored(self) -> None:
        """All of it is delivered and in the store."""
        for entry in self.dirty.values():
            entry.landed()
        self.kept = True
        self.on_stored(self)

    @property
    def empty(self) -> bool:
        return not (
            self.merged or self.outcomes or self.dirty or self.rows or self.carried or self.released or self.due
        )
