"""What the cloud says of the versions of the app: which it must be to be supported further, and from when on.

A device that writes hears it of its newest batch, by each row of its chains; one that only reads by the end of each group of states. Kept here it is known offline
and after a start, by whichever version starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from driftlog_edge.ports import Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_schemas import groups
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.support import Floor, heard, told, unmet


def said(journal: Journal, row: ChainRow) -> dict[Place, bytes | None]:
    """Keep what a row says."""
    word = json.dumps([row.oldest_supported, row.support_ends_ms]).encode() if row.oldest_supported else None
    return _kept(journal, keys.support_key(row.space, row.partition), word)


def announced(journal: Journal, space: str, partition: int, records: Sequence[Record]) -> dict[Place, bytes | None]:
    """Keep what the newest group that ends among these states says."""
    marks = (groups.parse(record.headers) for record in reversed(records))
    end = next((mark for mark in marks if mark.last and mark.number >= 0), None)
    if end is None:
        return {}
    return _kept(journal, keys.floors_key(space, partition), told(heard(end.support)) or None)


def first_unmet(journal: Journal, version: str) -> Floor | None:
    """The first floor in time that this version does not meet, of those that the cloud has told; None if there is no such."""
    floors = {Floor(*json.loads(raw)) for _, raw in journal.scan(Family.META, keys.SUPPORT)}
    floors.update(*(heard(raw) for _, raw in journal.scan(Family.META, keys.FLOORS)))
    missed = [floor for floor in floors if unmet(version, (floor,)) is not None]
    return min(missed, key=lambda floor: floor.from_ms, default=None)


def _kept(journal: Journal, key: bytes, word: bytes | None) -> dict[Place, bytes | None]:
    place = (Family.META, key)
    return {} if journal.get(*place) == word else {place: word}
