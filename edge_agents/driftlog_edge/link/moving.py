"""Following a space that goes on with another number of partitions, as far as that can be done while the agent runs on the topics of before.

From when the operator's line says that it is about to move nothing is sealed for it: its logs may be closed by now. When the line says where it goes on, all that the old
topics will ever tell is in them. It is read, with what it answers; then all lives that wrote there are over, and what is undecided comes along into a new one. When nothing is under
a life of before the agent opens its folder anew, and there the folder is carried to where the space goes on (`store/moves`, `store/carrying`).

What was read of the old topics is no longer what the cloud has: from the line on no read counts as in step by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError
from driftlog_edge.link.places import Places
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.renewing import ASK_SECONDS, LOOK_SECONDS, READ_SECONDS, NotYet
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Asker, Extent, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.moves import Move, Stage, left_behind, move_of, written
from driftlog_schemas.contract import AppContract
from driftlog_schemas.moves import Moved

log = structlog.get_logger()

AGAIN_SECONDS = 5.0
"""After how long what could not be done is tried again, if nothing new comes."""


class Moving:
    """Of one agent, on its loop."""

    def __init__(
        self,
        contract: AppContract,
        registry: RegistryLine,
        places: Places,
        renewal: Renewal,
        shipper: Shipper,
        journal: Journal,
        committer: Committer,
        asker: Callable[[], Asker | None],
        read_to: Callable[[tuple[str, int]], int],
        renew: Callable[[], None],
        follow: Callable[[], None],
    ) -> None:
        """`read_to` says before which offset this connection has read all of a partition of states, -1 where it has read nothing. `renew` brings what is undecided into new lives. `follow` opens the folder anew; it may be asked for again until that has begun."""
        self._partitions = {space.name: range(space.partitions) for space in contract.spaces.values()}
        self._registry = registry
        self._places = places
        self._renewal = renewal
        self._shipper = shipper
        self._journal = journal
        self._committer = committer
        self._asker = asker
        self._read_to = read_to
        self._renew = renew
        self._follow = follow
        self._errand = Errand("moving", self._run)
        self.left_behind = left_behind(journal)
        """What nobody here will ever send, and what to do about it."""

    def moved(self, space: str) -> bool:
        """Does a space go on elsewhere, so that its topics here say nothing of what the cloud has?"""
        return self._registry.moved(space) is not None

    @property
    def problem(self) -> str:
        """Which space moves, or has moved, and what that means for what is written; empty for none."""
        under_way = self._registry.moving
        for space in self._partitions:
            if (to := self._registry.moved(space)) is not None:
                why = self._errand.problem or "what is left there is read"
                return f"space {space} goes on with {to.partitions} partitions; what is written waits here until it is followed there: {why}"
            if space in under_way:
                return f"space {space} is being given {under_way[space]} partitions: what is written waits here until that is done"
        return ""

    def tick(self) -> bool:
        """Go by what the line says now. May something be sealed that could not be before, as when it is taken back?"""
        news = self.shut()
        if any(map(self.moved, self._partitions)):
            self._errand.run()
        return news

    def shut(self) -> bool:
        """Nothing is sealed for a log that is closed, or about to be. Is that news?"""
        under_way = self._registry.moving
        closed = [space for space in self._partitions if space in under_way or self.moved(space)]
        return self._shipper.close(frozenset((space, at) for space in closed for at in self._partitions[space]))

    def hurry(self) -> None:
        """There is a way to the cloud again, or something came along: what waits for it need not wait longer."""
        self._errand.hurry()

    async def stop(self) -> None:
        """Leave it to the next start."""
        await self._errand.stop()

    async def _run(self) -> None:
        moved = {space: to for space in self._partitions if (to := self._registry.moved(space)) is not None}
        why = ""
        for space, to in moved.items():
            try:
                if move_of(self._journal, space) is None:
                    await self._close(space, to)
                await self._pack(space)
                why = why or "this folder is opened anew, which takes as much room on its disk again"
            except (EdgeError, Unreachable) as error:
                why = str(error)
                if why != self._errand.problem:
                    log.info("a space that has moved is not followed yet", space=space, reason=why)
        self._errand.problem = why
        if why:
            await self._errand.pause(AGAIN_SECONDS)

    # -- all that the old topics tell

    async def _close(self, space: str, to: Moved) -> None:
        """All that came of the closed log is here: say so, and that the lives of before are over. Raises `NotYet`, `Unreachable`, `DiskFull`, `StoreFailed`."""
        if len(to.since) != len(self._partitions[space]):
            raise NotYet(
                f"it had {len(to.since)} partitions, and the app declares {len(self._partitions[space])}; declare what it began with"
            )
        whole = not self._renewal.silent(space)
        if whole:
            await self._read_to_the_end(space)
        if waiting := self._renewal.unanswered(space):
            raise NotYet(waiting)
        await self._committer.stage(self._renewal.close(space, Move(to, Stage.CLOSED, whole)), sync=True)
        log.info("all that came of a closed log is here", space=space)

    async def _read_to_the_end(self, space: str) -> None:
        asker = self._asker()
        if asker is None:
            raise NotYet("there is no way to the cloud")
        places = [place for place in self._places.all if self._places.described(place)[0] == space]
        extents = await asker.extents(places, ASK_SECONDS)
        try:
            async with asyncio.timeout(READ_SECONDS):
                while late := [place for place, extent in extents.items() if not self._has(place, extent)]:  # noqa: ASYNC110  # moved by the feed, which tells nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise NotYet("{}[{}] is not read to its end".format(*late[0])) from error

    def _has(self, place: tuple[str, int], extent: Extent) -> bool:
        if self._places.described(place)[1] == "state":
            # a group that is torn at the end of a closed log nobody ends: its owner has published it before, or left
            met = self._places.is_read(place, extent) and self._read_to(place) >= extent.end
            return met or self._places.shows(place, extent)
        return self._places.has_read(place, extent)

    # -- what is undecided

    async def _pack(self, space: str) -> None:
        """Nothing is under a life of before: say so, and open the folder anew. Raises as `_close`."""
        if ending := self._renewal.end_those_of_before(space):
            await self._committer.stage(ending, sync=True)
        if not self._renewal.packed(space):
            self._renew()
            raise NotYet("what is undecided comes along into a new life")
        move = move_of(self._journal, space)
        if move is not None and move.stage is Stage.CLOSED:
            await self._committer.stage(written(space, move._replace(stage=Stage.PACKED)), sync=True)
        self._follow()
