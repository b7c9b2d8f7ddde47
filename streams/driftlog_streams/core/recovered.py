"""What a merger must know of a partition whose stores were just recovered: how far the topics were read, and what of them is to be answered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from driftlog_crdt import Place
from driftlog_schemas.messages import ChainRow, ParkedCommand
from driftlog_streams.core.conflict_doubts import MAX_DOUBTED
from driftlog_streams.core.open_groups import Tail
from driftlog_streams.core.store_mark import NOTHING, Positions


@dataclass(slots=True)
class Recovered:
    """See the module."""

    read: Positions = NOTHING
    """how far the topics were read"""
    had: int = -1
    """the highest group that the store had before"""
    stale: dict[bytes, int] = field(default_factory=dict)
    """documents whose last record in the topic is behind the store, and where their cut begins: to be published again"""
    stale_rows: dict[str, int] = field(default_factory=dict)
    """replicas whose last row in the topic is behind the store, and its offset"""
    ahead: list[ChainRow] = field(default_factory=list)
    """rows that tell of records behind the end of the op topic"""
    stale_conflicts: dict[bytes, tuple[int, bytes | None]] = field(default_factory=dict)
    """conflicts whose last record in the topic is not what the state says, with its offset and value; of those that are read for the first time also
    those that were not met"""
    doubted: dict[bytes, int] = field(default_factory=dict)
    """conflicts whose last record in the topic names writes that the states do not have, and its offset (see `conflict_doubts`)"""
    undoubted: int = -1
    """Where more of these begin than can be kept: from here on the conflicts must be read again; -1 for nowhere"""
    late: set[bytes] = field(default_factory=set)
    """documents that somebody published meanwhile"""
    owed: dict[bytes, tuple[int, bytes, Place]] = field(default_factory=dict)
    """conflicts that had grown, by id, whose record was not met since: the offset of the state that says so, its key, and the place"""
    tail: Tail = field(default_factory=Tail)
    """of the state topic"""
    parked: list[ParkedCommand] = field(default_factory=list)
    """in order of parking"""
    spoiled: list[bytes] = field(default_factory=list)
    """names of which the last record in the parked topic is no true word"""
    parked_read: int = -1
    """how far the parked topic was read"""
    anew: bool = False
    """The topics are not those that the store was filled from: each record is joined with what the store has."""
    records: int = 0
    committed: int = 0
    ops_end: int = sys.maxsize
    """where the op topic ended when it was asked last: what names a record behind that is of no worker"""
    ask_ops_end: Callable[[], int] | None = None
    """Where it ends now, asked where a record names one behind `ops_end`: another worker may merge on while we read, as at every move to another number
    of partitions. None: it is as long as it was."""

    def look_again(self) -> None:
        """Ask where the op topic ends now."""
        if self.ask_ops_end is not None:
            self.ops_end = max(self.ops_end, self.ask_ops_end())

    def doubt(self, name: bytes, offset: int) -> None:
        """The last record of this conflict, there, names writes that the states do not have."""
        if len(self.doubted) < MAX_DOUBTED:
            self.doubted[name] = offset
        else:
            self.undoubted = offset if self.undoubted < 0 else min(self.undoubted, offset)

    @property
    def answers(self) -> bool:
        """Is there somebody else's word to answer?"""
        return bool(self.stale or self.stale_rows or self.stale_conflicts or self.owed)

    @property
    def settled(self) -> Positions:
        """How far the topics are right, whatever happens before it is answered."""
        owed = [offset for offset, _, _ in self.owed.values()]
        wrong = [*self.stale.values(), *owed] + [self.tail.start] * self.tail.open
        disputes = [*(offset for offset, _ in self.stale_conflicts.values()), *self.doubted.values()]
        disputes += [self.undoubted] * (self.undoubted >= 0)
        first = Positions(*(min(o, default=1 << 62) - 1 for o in (wrong, self.stale_rows.values(), disputes)))
        return first.before(self.read)
