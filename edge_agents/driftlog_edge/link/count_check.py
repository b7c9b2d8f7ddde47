"""Has the broker as many partitions of each space as the app declares? Asked at the beginning of each connection, before anything is read from it.

An agent with another count would read the wrong partitions, and send what the workers must refuse. So it reads nothing and sends nothing until the counts agree:
what is written waits here, and the status says why. A folder that has met the cloud sends from the beginning of a connection on, as its counts agreed
before; one that has not waits for the answer, so that what it holds can still move to another count (`store/counts`).
"""

from __future__ import annotations

from driftlog_edge.link.places import Places
from driftlog_edge.ports import Asker, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.counts import Count, counts_of, written
from driftlog_edge.store.journal import Journal
from driftlog_schemas.contract import AppContract

SECONDS = 3.0


class CountCheck:
    """Of one agent."""

    def __init__(self, contract: AppContract, places: Places, journal: Journal, committer: Committer) -> None:
        self._declared = {name: Count(space.partitions, met=True) for name, space in contract.spaces.items()}
        self._places = places
        self._journal = journal
        self._committer = committer
        known = counts_of(journal)
        self._met = all(known.get(space) == count for space, count in self._declared.items())
        self._denied = False

    @property
    def passed(self) -> bool:
        """May batches leave? Not while the broker has another count, nor before it was met for the first time."""
        return self._met and not self._denied

    async def ask(self, asker: Asker) -> None:
        """Compare, and remember that it was met.

        Raises:
            Unreachable: the broker does not answer, or has another count.
            DiskFull, StoreFailed: that it was met could not be written.
        """
        followed = {topic for topic, _ in (*self._places.all, *self._places.ops)}
        names = {topic: space for topic in followed if (space := self._places.described((topic, 0))[0])}
        if not names:
            return
        self._require(await asker.partitions(names, SECONDS), names)
        self._denied = False
        if not self._met:
            await self._committer.stage(written({**counts_of(self._journal), **self._declared}), sync=True)
            self._met = True

    def _require(self, found: dict[str, int], names: dict[str, str]) -> None:
        """Raise `Unreachable` for the first topic that has another count."""
        for topic, count in sorted(found.items()):
            declared = self._declared[names[topic]].partitions
            if count != declared:
                self._denied = True
                raise Unreachable(
                    f"topic {topic} has {count} partitions, and the app of this agent declares {declared}: nothing is sent or read; "
                    f"declare partitions={count} for space {names[topic]}"
                )
