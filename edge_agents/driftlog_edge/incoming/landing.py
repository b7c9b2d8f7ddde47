"""What a read of states has come to so far: the writes, and what they mean to readers and to our own changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from driftlog_crdt import DocumentState
from driftlog_edge.incoming.rows import Rows
from driftlog_edge.incoming.tally import Tally
from driftlog_edge.ports import Place, Record
from driftlog_edge.store import keys
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId


@dataclass(slots=True)
class Landing:
    """One write set while it is made. `generation` is where it goes, `served` what readers have."""

    space: str
    topic: str
    partition: int
    generation: int
    served: int
    rows: Rows
    tally: Tally
    writer: str
    """The life that writes in the partition; look again where others have run."""
    latest: dict[bytes, DocumentState | None] = field(default_factory=dict)
    groups: dict[bytes, int] = field(default_factory=dict)
    """The group of the newest record of a document."""
    held: dict[bytes, int] = field(default_factory=dict)
    """The highest own seq in what was confirmed before"""
    changed: dict[bytes, DocumentId] = field(default_factory=dict)
    dropped: dict[int, None] = field(default_factory=dict)
    """lsns that are done"""
    unreadable: int = 0
    traced: bool = False
    anew: bool = False
    """Is the topic another one than that which was read?"""
    outlived: bool = False
    """Was a document purged on which changes of ours are pending?"""
    belongs: set[tuple[str, str]] = field(default_factory=set)
    """(collection, scope) of which was found that they lie here."""

    @property
    def writes(self) -> dict[Place, bytes | None]:
        """What was made so far."""
        return self.rows.writes

    @property
    def fresh(self) -> bool:
        """Does it go beside what readers have?"""
        return self.generation != self.served

    def row(self, key: bytes) -> bytes:
        """Where a document's row goes."""
        return self.rows.key(key)

    def served_row(self, key: bytes) -> bytes:
        """Where readers find it."""
        return keys.confirmed_prefix(self.space, self.partition, self.served) + key


def by_worker(record: Record) -> bool:
    """Is it of a group? Nobody but a worker makes those."""
    return groups.parse(record.headers).number >= 0
