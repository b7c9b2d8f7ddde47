"""Records of conflicts that name writes which the owner of the partition does not have, where it has no such conflict.

Such a record is of somebody who was further than the owner, or of nobody: who can write the topic can invent a conflict, which would be listed for
ever. The two are told apart by the op log. A write that was ever merged stood there before the record that names it was written. So the record is
*doubted*: after it was read the owner asks where the op log ends, and merges up to there. What it does not have then nobody has, or it was
purged. So the record is closed: by how the conflict ended, or with a tombstone where that is not known. Only one that is over and may be of before a
purge is left: it is history. One of writes that are all there, between which there never was such a conflict (`never`), is closed in the same way.

Of the doubted ones only name and offset are kept, and the record is read once more when that is known. While there are too many the topic is not
read on. Until they are closed the store's mark stays before them, so that the next owner doubts what this one had no time for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from driftlog_crdt import SETTLER, DocumentState, covers, epoch_of
from driftlog_schemas.messages import Version
from driftlog_streams.core import conflicts
from driftlog_streams.core.conflict_answers import Ground, forgotten, named, never, said, seen
from driftlog_streams.core.rules import SpaceRules

MAX_DOUBTED = 10_000
"""So many wait in a partition; then none is read until these are closed."""


class Closing(NamedTuple):
    """What is to be published over a record."""

    value: bytes | None
    """None is a tombstone."""


def closing(rules: SpaceRules, key: bytes, value: bytes | None, ground: Ground) -> Closing | None:
    """What must be published over it once all is merged that there was when it was read; None where it need not be doubted."""
    found = said(rules, key, value)
    collection = None if found is None else rules.collections.get(found.document.collection)
    if found is None or collection is None:
        return None
    place = conflicts.place_of(found.field)
    state = ground.state_of(found.document, collection) if place.field in collection.policies else None
    if state is None or conflicts.standing(found.document, collection, state, place) is not None:
        return None  # what stands is told at once
    end = ground.known.ended(key)
    if seen(state, found, ground):
        return Closing(None) if never(found, said(rules, key, end), ground) else None
    if end is not None:
        return None if end == value else Closing(end)
    history = found.status.over and not any(_invented(state, version, ground) for version in named(found))
    return None if history else Closing(None)


def _invented(state: DocumentState, version: Version, ground: Ground) -> bool:
    """Can this write not even have been made before the document was purged?"""
    vector = state.vector
    if covers(vector, version.replica, version.seq) or forgotten(vector, version, ground):
        return False
    if not ground.purged() or (vector and not epoch_of(vector)):
        return True  # it is still the first document of its name, or never was one
    return version.replica != SETTLER and ground.row_of(version.replica) is None


@dataclass(slots=True)
class _Doubted:
    """Of one partition: names of doubted records, with their offsets."""

    asked: dict[bytes, int] = field(default_factory=dict)
    ops_end: int = -1
    """Where the op log ended after those were read."""
    later: dict[bytes, int] = field(default_factory=dict)
    """Read since that was asked."""
    start: int = -1
    """The first offset of all of them."""

    def changed(self) -> None:
        self.start = min([*self.asked.values(), *self.later.values()], default=-1)


class Doubts:
    """The doubted records of the owned partitions."""

    def __init__(self) -> None:
        self._of: dict[int, _Doubted] = {}

    def read(self, partition: int, names: Iterable[bytes], doubted: Mapping[bytes, int]) -> None:
        """The last records of these names were read; of these names they are doubted, at these offsets."""
        known = self._of.get(partition)
        if known is None:
            if not doubted:
                return
            known = self._of[partition] = _Doubted()
        for name in names:
            known.asked.pop(name, None)
            known.later.pop(name, None)
        known.later.update(doubted)
        self._keep(partition, known)

    def full(self, partition: int) -> bool:
        """Are there so many that no more should be read?"""
        known = self._of.get(partition)
        return known is not None and len(known.later) >= MAX_DOUBTED

    def waiting(self) -> list[int]:
        """The partitions that have any."""
        return list(self._of)

    def unasked(self, partition: int) -> bool:
        """Must it be asked where the op log of this partition ends?"""
        return not self._of[partition].asked

    def ask(self, partition: int, ops_end: int) -> None:
        """It ends so, after all that is doubted was read."""
        known = self._of[partition]
        known.asked, known.later, known.ops_end = known.later, {}, ops_end

    def due(self, partition: int, merged_to: int) -> list[int]:
        """The offsets of those that can be closed where the owner has merged as far as that, in order."""
        known = self._of.get(partition)
        return [] if known is None or merged_to + 1 < known.ops_end else sorted(known.asked.values())

    def take(self, partition: int, offsets: range) -> set[int]:
        """Those among these offsets are closed now."""
        known = self._of[partition]
        taken = {name: offset for name, offset in known.asked.items() if offset in offsets}
        for name in taken:
            del known.asked[name]
        self._keep(partition, known)
        return set(taken.values())

    def start(self, partition: int) -> int | None:
        """The offset of the first doubted record, if there is one."""
        known = self._of.get(partition)
        return None if known is None else known.start

    def forget(self) -> None:
        """Own nothing any more."""
        self._of.clear()

    def _keep(self, partition: int, known: _Doubted) -> None:
        known.changed()
        if known.start < 0:
            del self._of[partition]
