"""Looks where the followed partitions stand in the broker: before they are followed, and now and then while they are.

A client that consumes does not say that its topic was deleted and made again: it goes on at the same offset in the other one. So the agent asks for
the topics' ids and extents with another client, first of all on each connection, and lets `incoming/landmarks` compare them. While it follows it
looks at least every 15 seconds; each strong read looks too. What came in between from another life of a topic is undone, because the partition
is then read again as a whole.

Whether the replica was away for longer than tombstones are kept (`horizon`) is looked at once on each connection, and again before anything that came in is taken, for a
client lives through an outage of any length. Of the times that are known (its age, and when the cursor was last moved) the shortest counts. A clock that went back makes
both unknown; then the partition is read again when a connection begins, if it has anything new.

A partition of conflicts forgets likewise, by what its own topic keeps, and what this replica did not hear of would stay in its list for ever. In a life of the agent each look
tells that nothing was missed there up to then; at its beginning the states beside it do, for both are read at the same times.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_edge.incoming.landmarks import Landmarks
from driftlog_edge.link.freshness import Freshness, Moment
from driftlog_edge.link.horizon import Horizon
from driftlog_edge.link.op_logs import OpLogs
from driftlog_edge.link.places import Places
from driftlog_edge.ports import Asker, Clock, Extent
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.cursors import Cursor

LOOK_SECONDS = 15.0
TIMEOUT_SECONDS = 3.0


class Lookout:
    """Looks for one agent. `asker` is the client of the connection there is."""

    def __init__(
        self,
        places: Places,
        landmarks: Landmarks,
        freshness: Freshness,
        committer: Committer,
        clock: Clock,
        asker: Callable[[], Asker | None],
        op_logs: OpLogs,
        horizon: Horizon,
    ) -> None:
        self._places = places
        self._landmarks = landmarks
        self._freshness = freshness
        self._committer = committer
        self._clock = clock
        self._asker = asker
        self._op_logs = op_logs
        self._horizon = horizon
        self._next = 0.0
        self._missed_nothing: dict[tuple[str, int], Moment] = {}
        """Of each partition of conflicts: until when all that it had forgotten by then was read, or follows."""
        self.extents: dict[tuple[str, int], Extent] = {}
        """What the broker had of each at the last look; nothing before the first."""

    def due(self, now: float) -> bool:
        """Is it time to look again?"""
        return now >= self._next

    def hurry(self) -> None:
        """Look at the next occasion."""
        self._next = 0.0

    async def look(self, *, beginning: bool = False) -> dict[tuple[str, int], Extent] | None:
        """What the broker has of all that is followed; None when what comes in must begin anew, at cursors that have changed.

        Raises:
            Unreachable: the broker does not answer.
            DiskFull, StoreFailed: what follows could not be written.
        """
        asker = self._asker()
        if asker is None:
            return {}
        self._next = self._clock.monotonic() + LOOK_SECONDS
        places = [*self._places.all, *self._places.ops]
        asked_at = {
            place: self._cursor(place).offset for place in places
        }  # reading goes on while the answer is on its way
        asked = self._freshness.now()
        found = await asker.extents(places, TIMEOUT_SECONDS)
        self._op_logs.told(found)
        self.extents = found
        if beginning:
            telling = {place[0] for place in found if self._tells_of_deletions(place)}
            await self._horizon.ask(asker, telling, TIMEOUT_SECONDS)
        if asker is not self._asker():
            return {}
        anew = False
        for place, extent in sorted(found.items(), key=lambda one: one[0] in self._places.states):
            # States last: when they are read again they do not tell any more for how long the others were not.
            space, kind = self._places.described(place)
            away = beginning and self._tells_of_deletions(place) and self._away(place, extent)
            now_ms = self._clock.wall_ms()
            follows = self._landmarks.compare(space, kind, place, extent, asked_at[place], now_ms, away=away)
            if follows.writes:
                await self._committer.stage(follows.writes, sync=False)
            anew |= follows.anew
            if kind == "conflicts" and (beginning or not self.forgotten(place)):
                self._missed_nothing[place] = asked
        return None if anew else found

    def _cursor(self, place: tuple[str, int]) -> Cursor:
        space, kind = self._places.described(place)
        return self._landmarks.cursor(space, kind, place)

    def forgotten(self, place: tuple[str, int]) -> bool:
        """Has the topic surely forgotten what was deleted since this replica last had all of it? Then what follows the cursor is not to be taken."""
        away = self._seconds_away(place) if self._tells_of_deletions(place) else None
        return away is not None and away >= self._horizon.kept(place[0]) and self._cursor(place).offset > 0

    def _tells_of_deletions(self, place: tuple[str, int]) -> bool:
        return self._places.described(place)[1] in ("state", "conflicts")

    def _away(self, place: tuple[str, int], extent: Extent) -> bool:
        """May something have been deleted there that the topic does not tell any more?"""
        if not 0 < self._cursor(place).offset < extent.end:
            return False
        away = self._seconds_away(place)
        return away is None or away >= self._horizon.kept(place[0])

    def _seconds_away(self, place: tuple[str, int]) -> float | None:
        """For how long at least nothing was read of a partition; None where nobody knows."""
        if place not in self._places.states:
            heard = self._missed_nothing.get(place)
            return (
                self._seconds_away(self._places.states_beside(place)) if heard is None else self._freshness.age(heard)
            )
        since_moved = (self._clock.wall_ms() - self._cursor(place).wall_ms) / 1000
        known = [since_moved] if since_moved >= 0 else []
        moment = self._freshness.since(place)
        age = self._freshness.age(moment)
        if moment is not None and moment.sure and age is not None:
            known.append(age)
        return min(known, default=None)
