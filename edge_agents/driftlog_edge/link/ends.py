"""Where the state topics end, beside what this replica has applied of them: is it in step?

Asked for two reasons: to hear whether there is a way at all, and to give a read what the cloud had when it was asked. An end that lies before
what was read is no answer: the topic is not the one that was read.
"""

from __future__ import annotations

from collections.abc import Callable

from driftlog_edge.errors import Offline, TimedOut
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.places import Places
from driftlog_edge.link.signal import Signal
from driftlog_edge.ports import Asker, Unreachable

PROBE_TIMEOUT_SECONDS = 3.0


class Ends:
    """Asks the broker where the followed partitions end."""

    def __init__(self, places: Places, freshness: Freshness, signal: Signal, asker: Callable[[], Asker | None]) -> None:
        self._places = places
        self._freshness = freshness
        self._signal = signal
        self._asker = asker
        self.foreign = ""
        """Which topic is not the one that was read."""

    def require_cloud(self) -> None:
        """Raise `Offline` when nobody can be asked."""
        self._require_asker()

    async def caught_up(self, place: tuple[str, int], seconds: float) -> Callable[[], bool]:
        """A test: has this replica applied what the state partition held when this was asked?

        Raises:
            Offline: there is no way to the cloud, or the broker says no.
            TimedOut: the broker says nothing.
        """
        asker = self._require_asker()
        try:
            end = (await asker.ends([place], seconds))[place]
        except Unreachable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise TimedOut(str(error), "ask again later, or read with consistency=eventual") from error
            raise Offline(str(error), "read with consistency=eventual") from error
        if end < self._places.position(*place):
            raise Offline(_made_anew(place, end), "this replica cannot answer for that topic; see its status")
        return lambda: self._places.shows(place, end)

    async def probe(self) -> None:
        """Ask once; what the answer says of the way and of the replica is noted."""
        asker = self._asker()
        if asker is None:
            return
        asked = self._freshness.now()
        try:
            ends = await asker.ends(self._places.states, PROBE_TIMEOUT_SECONDS)
        except Unreachable as error:
            if asker is self._asker():
                self._signal.silence(str(error))
            return
        if asker is not self._asker():
            return
        self._signal.success()
        gone = [place for place, end in ends.items() if end < self._places.position(*place)]
        self.foreign = _made_anew(gone[0], ends[gone[0]]) if gone else ""
        for place, end in ends.items():
            if place not in gone and self._places.shows(place, end):
                self._freshness.in_step(place, asked)

    def _require_asker(self) -> Asker:
        self._signal.require()
        asker = self._asker()
        if asker is None:
            raise Offline("this answer needs the cloud, and the link begins anew", "ask again later")
        return asker


def _made_anew(place: tuple[str, int], end: int) -> str:
    return f"{place[0]}[{place[1]}] ends at {end}, before what was read of it: it was made anew"
