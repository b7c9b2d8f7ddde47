"""What the broker has, beside how far this replica has come: which cursors lead on, and what follows where one does not.

- *states*: the partition is read again, beside what readers have (`returning`);
- *receipts, registry lines*: the latest record of each key says all, so the cursor goes back to the start;
- *conflicts*: likewise, and those that are known go, for nobody would say that they are over;
- *ops*, which no agent reads: a topic that was made anew counts anew, so nothing that was said in its numbers holds (`Returns.log_made_anew`). Its leaders
  are numbered anew as well: a client that knew the log before takes them for outdated, and would go on sending to the node that led it.

A cursor that was never compared takes the topic as it is found: what was read was read since the connection began, after this was asked.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from driftlog_edge.incoming.disputes import Disputes
from driftlog_edge.incoming.returning import Returns, broken, ends_before
from driftlog_edge.ports import Extent, Place
from driftlog_edge.store.cursors import Cursor, cursor_of, moved
from driftlog_edge.store.generations import written
from driftlog_edge.store.journal import Journal

Kind: TypeAlias = Literal["state", "receipts", "conflicts", "devices", "ops"]

AWAY = "the replica was away for longer than the topic tells what was deleted"


class Found(NamedTuple):
    """What to write, and whether the connection must begin anew for it."""

    writes: dict[Place, bytes | None]
    anew: bool


class Landmarks:
    """Compares extents with the cursors of one replica."""

    def __init__(self, returns: Returns, disputes: Disputes, journal: Journal) -> None:
        self._returns = returns
        self._disputes = disputes
        self._journal = journal

    def cursor(self, space: str, kind: Kind, place: tuple[str, int]) -> Cursor:
        """From where a partition is to be read."""
        return self._returns.cursor(space, place[1]) if kind == "state" else cursor_of(self._journal, *place)

    def compare(
        self, space: str, kind: Kind, place: tuple[str, int], extent: Extent, asked_at: int, wall_ms: int, *, away: bool
    ) -> Found:
        """What follows from what the broker has of a partition, of which so much was read (`asked_at`) when it was asked; `away` says that deletions may
        have been missed there."""
        cursor = self.cursor(space, kind, place)
        why = broken(cursor, extent, asked_at) or (AWAY if away else "")
        begun = Cursor(0, extent.topic_id)
        if not why:
            if cursor.topic_id == extent.topic_id:
                return Found({}, anew=False)
            return Found(self._adopted(space, kind, place, cursor, extent.topic_id), anew=False)
        if kind == "state":  # readers keep what they have meanwhile
            other = extent.topic_id != cursor.topic_id or ends_before(cursor, extent, asked_at)
            return Found(self._returns.begin(space, place[1], extent.topic_id, why, wall_ms, anew=other), anew=True)
        writes = moved(*place, begun)
        if kind == "ops":
            return Found({**writes, **self._returns.log_made_anew(space, place[1])}, anew=True)
        if kind == "conflicts":
            writes.update(self._disputes.forgotten(space, place[1]))
        return Found(writes, anew=True)

    def _adopted(
        self, space: str, kind: Kind, place: tuple[str, int], cursor: Cursor, topic_id: str
    ) -> dict[Place, bytes | None]:
        under_way = self._returns.of(space, place[1]) if kind == "state" else None
        if under_way is None:
            return moved(*place, cursor._replace(topic_id=topic_id))
        return written(space, place[1], under_way._replace(cursor=cursor._replace(topic_id=topic_id)))
