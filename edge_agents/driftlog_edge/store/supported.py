"""What the cloud says of the version of the app that runs here: which it must be to be supported further, and from when on.

Each row of our chains says so of its newest batch; kept here it is known offline and after a start, by whichever version starts.
"""

from __future__ import annotations

import json

from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.support import Floor, unmet


def said(journal: Journal, row: ChainRow) -> dict[Place, bytes | None]:
    """Keep what a row says."""
    place = (Family.META, keys.support_key(row.space, row.partition))
    told = json.dumps([row.oldest_supported, row.support_ends_ms]).encode() if row.oldest_supported else None
    return {} if journal.get(*place) == told else {place: told}


def first_unmet(journal: Journal, version: str) -> Floor | None:
    """The first floor in time that this version does not meet, of those that the cloud has told; None if there is no such."""
    floors = {Floor(*json.loads(raw)) for _, raw in journal.scan(Family.META, keys.SUPPORT)}
    missed = [floor for floor in floors if unmet(version, (floor,)) is not None]
    return min(missed, key=lambda floor: floor.from_ms, default=None)
