"""Whose turn it is: of the commands that wait, which may go into the next batch.

The most urgent class goes first. Within a class partitions take turns, so that none starves another. What is held comes last, and of a partition that has
a round under way first: it has waited longest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from driftlog_edge.outgoing.entries import AT_ONCE, Entries
from driftlog_edge.outgoing.held import NEVER, Held
from driftlog_edge.outgoing.moments import Moments, moment_of
from driftlog_edge.store import keys
from driftlog_edge.store.logged import changed_keys
from driftlog_schemas.messages import Command

NO_PARTITION = -1


class Schedule:
    """Of one queue. `spaces` are those of its app, in order."""

    def __init__(
        self,
        spaces: Sequence[str],
        entries: Entries,
        moments: Moments,
        held: Held,
        class_of: Callable[[Command], int],
    ) -> None:
        """`class_of` says where a command belongs by what is declared, wherever it waits."""
        self._spaces = spaces
        self._entries = entries
        self._moments = moments
        self._held = held
        self._class_of = class_of
        self._served = (spaces[0], NO_PARTITION)
        """Whose commands were taken last: the next partition is next."""

    def served(self, space: str, partition: int) -> None:
        """Commands of this partition were taken."""
        self._served = (space, partition)

    def next(self, stuck: Collection[tuple[str, int]]) -> tuple[str, int] | None:
        """(space, partition) of the next batch: of the most urgent class, the next in turn that is not stuck; what is held comes last."""
        for urgency in self._moments.open:
            for space, after in self._turns():
                found = self._of_space(space, urgency, after, stuck)
                if found is not None:
                    return found
        return next(
            (place for place in sorted(self._held.rounds.keys() - set(stuck)) if self._of_round(*place, most=1)), None
        )

    def of_partition(self, space: str, partition: int) -> Iterator[bytes]:
        """The entries of what may go into the next batch, in order."""
        if (space, partition) in self._held.rounds:
            yield from self._of_round(space, partition)
        for urgency in self._moments.open:
            yield from self._entries.of_class(space, urgency, partition, self._moments.up_to(urgency))

    def passes(self, place: tuple[str, int], lsn: int, command: Command) -> bool:
        """Does the round under way leave this held command where it is: behind one that stays, or because it may not leave now?"""
        documents, now = changed_keys(command), self._held.rounds[place]
        if now.passes(documents):
            return True
        urgency = self._class_of(command)
        until = NEVER if self._moments.shut(urgency) else self._held.moment(place, moment_of(urgency))
        if until is None or self._held.goes_along(place, lsn):
            return False
        now.keep(documents, until)
        return True

    def leaves(self, place: tuple[str, int]) -> bool:
        """Does something wait in this partition that may leave now?"""
        space, partition = place
        return place in self._held.rounds or any(
            next(self._entries.of_class(space, urgency, partition, self._moments.up_to(urgency)), None) is not None
            for urgency in self._moments.open
        )

    def _turns(self) -> Iterator[tuple[str, int]]:
        """(space, partition after which to look): once round, from the partition that was served last."""
        last_space, last_partition = self._served
        at = self._spaces.index(last_space)
        yield last_space, last_partition
        for space in (*self._spaces[at + 1 :], *self._spaces[: at + 1]):
            yield space, NO_PARTITION

    def _of_space(
        self, space: str, urgency: int, after: int, stuck: Collection[tuple[str, int]]
    ) -> tuple[str, int] | None:
        for partition in self._entries.fronts.after(space, urgency, after):
            if (space, partition) in stuck:
                continue
            first = self._entries.first(space, urgency, partition, most=1)
            if first and keys.parse_lsn(first[0]) <= self._moments.up_to(urgency):
                return space, partition
        return None

    def _of_round(self, space: str, partition: int, most: int = AT_ONCE) -> list[bytes]:
        """What a round under way tries next, in order, `most` of it; with nothing left it is over."""
        now = self._held.rounds[space, partition]
        entries = islice(self._entries.held(space, partition, now.tried), most)
        found = [key for key in entries if keys.parse_lsn(key) <= now.end]
        if not found:
            self._held.over((space, partition))
        return found
