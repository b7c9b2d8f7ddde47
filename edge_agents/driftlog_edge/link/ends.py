"""Where the state topics end, beside what this replica has applied of them: is it in step?

Asked for two reasons: to hear whether there is a way at all, and to give a read what the cloud had when it was asked. With the end comes the
topic's id: where that is another one than was read, a read waits until the topic was read again (`lookout`).

The device registry is asked for along with them: while not all of it is read nothing counts as in step, for its next line may say that the space has gone on
in other topics, as it does to a device that was away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from driftlog_edge.errors import Offline, TimedOut
from driftlog_edge.incoming.returning import broken
from driftlog_edge.link.count_check import CountCheck
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.places import Places
from driftlog_edge.link.signal import Signal
from driftlog_edge.ports import Asker, Extent, Unreachable


class Ends:
    """Asks the broker where the followed partitions end."""

    def __init__(
        self,
        places: Places,
        lookout: Lookout,
        freshness: Freshness,
        signal: Signal,
        asker: Callable[[], Asker | None],
        met: Callable[[], Awaitable[None]],
        counts: CountCheck,
        moved: Callable[[str], bool],
    ) -> None:
        """`met` is done when the broker has answered, before anything that was read counts. `moved` says of a space that it goes on in other topics."""
        self._places = places
        self._lookout = lookout
        self._freshness = freshness
        self._signal = signal
        self._asker = asker
        self._met = met
        self._counts = counts
        self._elsewhere = moved
        self._behind: Mapping[tuple[str, int], Extent] = {}
        """What the broker had when the last look found the device registry not read to its end; empty where it was."""

    @property
    def begun(self) -> bool:
        """Is there somebody to ask? For a moment there is not, while a link begins anew."""
        return self._asker() is not None

    def require_cloud(self) -> None:
        """Raise `Offline` when it is known that there is no way to the cloud. A link that begins anew is one."""
        self._signal.require()

    async def caught_up(self, place: tuple[str, int], seconds: float) -> Callable[[], bool]:
        """A test: has this replica applied what the state partition held when this was asked? To be asked when the link has `begun`.

        Where the topic is not the one that was read, that is when it was read again.

        Raises:
            Offline: there is no way to the cloud, or the broker says no.
            TimedOut: the broker says nothing.
        """
        self._signal.require()
        self._require_here(place)
        asker = self._asker()
        assert asker is not None, "the link was waited for"
        asked_at = self._places.cursor(*place).offset
        try:
            found = await asker.extents([place, *self._places.registry], seconds)
        except Unreachable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise TimedOut(str(error), "ask again later, or read with consistency=eventual") from error
            raise Offline(str(error), "read with consistency=eventual") from error
        if broken(self._places.cursor(*place), found[place], asked_at):
            self._lookout.hurry()
        return lambda: self._shown(place, found)

    def tick(self) -> None:
        """Look again when the device registry is read as far as the last look waited for."""
        if self._behind and self._abreast(self._behind):
            self._behind = {}
            self._lookout.hurry()

    def _shown(self, place: tuple[str, int], found: Mapping[tuple[str, int], Extent]) -> bool:
        """Do readers see what the broker had of it? Raises `Offline` where it turns out that it had more elsewhere."""
        self._require_here(place)
        return self._abreast(found) and self._places.shows(place, found[place])

    def _abreast(self, found: Mapping[tuple[str, int], Extent]) -> bool:
        """Was all read that the device registry had? A line there may say that what is read here is over, however far it is read."""
        return all(self._places.has_read(place, found[place]) for place in self._places.registry if place in found)

    def _require_here(self, place: tuple[str, int]) -> None:
        space = self._places.described(place)[0]
        if self._elsewhere(space):
            raise Offline(
                f"space {space} goes on in other topics, and this replica does not follow it there yet",
                "ask again, or read with consistency=eventual",
            )

    async def look(self, *, beginning: bool = False) -> bool:
        """Ask once; what the answer says of the way and of the replica is noted. Can what comes in go on as it does?

        Raises:
            DiskFull, StoreFailed: what follows from the answer could not be written.
        """
        asker, asked = self._asker(), self._freshness.now()
        try:
            if beginning and asker is not None:
                await self._counts.ask(asker)
            found = await self._lookout.look(beginning=beginning)
        except Unreachable as error:
            if asker is self._asker():
                self._signal.silence(str(error))
            return not beginning
        if asker is not self._asker():
            return False
        self._signal.success()
        await self._met()
        if found is None:
            return False
        if not self._abreast(found):
            self._behind = found
            return True
        self._behind = {}
        for place in self._places.states:
            if place not in found or self._elsewhere(self._places.described(place)[0]):
                continue
            if self._places.shows(place, found[place]):
                self._freshness.in_step(place, asked)
            elif self._places.is_read(place, found[place]):
                self._freshness.identified(place, asked)
        return True
