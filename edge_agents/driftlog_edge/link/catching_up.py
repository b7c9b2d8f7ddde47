"""How far this replica has come where it does not have all that the cloud has: at first, after an outage, and where a partition is read again.

Offsets, not documents: a compacted topic has gaps, but how far a reader is between its beginning and its end they tell.
"""

from __future__ import annotations

from typing import Any

from driftlog_edge.incoming.returning import Returns
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.places import Places


class CatchingUp:
    """Of one replica."""

    def __init__(self, places: Places, lookout: Lookout, freshness: Freshness, returns: Returns) -> None:
        self._places = places
        self._lookout = lookout
        self._freshness = freshness
        self._returns = returns

    def facts(self) -> dict[str, dict[str, Any]]:
        """For `/v1/status`, `space/partition` -> `offset` (the next to be read), `begins` and `ends` (of the topic, as the broker said at the last look;
        None before the first since the start), `again` (why it is read from its start once more, or empty). Only of partitions of which something is
        missing, or was never known to be there.
        """
        positions, again = self._places.positions(), self._returns.all()
        found: dict[str, dict[str, Any]] = {}
        for place in self._places.states:
            space, partition = self._places.topics[place[0]][0], place[1]
            extent, returning = self._lookout.extents.get(place), again.get((space, partition))
            behind = extent is not None and positions[place] < extent.end
            if behind or returning is not None or self._freshness.since(place) is None:
                found[f"{space}/{partition}"] = {
                    "offset": positions[place],
                    "begins": None if extent is None else extent.start,
                    "ends": None if extent is None else extent.end,
                    "again": "" if returning is None else returning.why,
                }
        return found
