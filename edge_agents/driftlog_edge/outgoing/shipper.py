"""Which batch goes out next, and which goes out again. No I/O: it is told what happened and answers what to send.

A sealed batch stays open until the cloud's row answers it. It goes out again only for a reason: the client that had it is gone or gave up
before the log had it; the process began anew and nobody knows; or the log has it and no answer came for a while that doubles, because the
cloud had refused its device, had no room, or had not met its predecessor. A batch that is on its way or was delivered is never sent
again merely because a connection was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.resends import BatchPlace, Carried, Resends
from driftlog_edge.ports import Place, Sealed

AGAIN_SECONDS = 120.0
REFUSED_SECONDS = 10.0
EARLY_SECONDS = 1.0
AGAIN_CAP_SECONDS = 3600.0


@dataclass(slots=True)
class _Wait:
    """A batch that the log has: when it should go out again, and how often it was delivered."""

    due: float
    attempts: int
    refused: bool = False
    """Did the cloud say of its partition's batches that it does not take them?"""


class Shipper:
    """The outgoing side of one replica."""

    def __init__(self, outbox: Outbox, in_flight: int) -> None:
        self._outbox = outbox
        self._limit = in_flight
        unsure = outbox.sealed.all()
        self._resend = Resends(batch.place for batch in unsure)
        self._carried = Carried((batch.place, batch.lsns) for batch in unsure)
        self._new_first = True
        """Whose turn was it last: that of what is new?"""
        self._flying: dict[BatchPlace, Sealed] = {}
        self._delivered: dict[BatchPlace, _Wait] = {}
        outbox.queue.held.release()  # nobody remembers how long they have waited

    def resume(self) -> None:
        """The client is gone: what it had and the log is not known to have goes out again."""
        for place in self._flying:
            self._resend.add(place)
        self._flying.clear()

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return not (self._flying or self._resend)

    @property
    def settled(self) -> bool:
        """Has everything that the log has been answered?"""
        return not self._delivered

    @property
    def holding(self) -> int:
        """How many commands wait because the cloud has deferred them, or stand behind such."""
        return len(self._outbox.queue.held)

    @property
    def waiting(self) -> bool:
        """Is there something to send?"""
        return bool(self._resend) or self._outbox.queue.ready

    @property
    def passing(self) -> bool:
        """Was nothing found to send only because much was passed by? Then the next look may find something."""
        return self._outbox.passing and len(self._flying) < self._limit

    def carries(self, lsn: int) -> bool:
        """Is this sealed command in a batch that the log is not known to have?"""
        return lsn in self._carried

    def next(self) -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and what to write before it is sent; None when the way is full or nothing waits.

        What goes again and what is new take turns, and nothing new overtakes what goes again in its partition.
        """
        if len(self._flying) >= self._limit:
            return None
        self._new_first = not self._new_first
        if self._new_first and (sealed := self._outbox.seal(self._resend.partitions)):
            return self._fly(sealed[0]), sealed[1]
        while place := self._resend.take():
            batch = self._outbox.sealed.get(*place)
            if batch is not None:
                return self._fly(self._outbox.reseal(batch)), {}
            self._carried.drop(place)
        sealed = self._outbox.seal()
        return None if sealed is None else (self._fly(sealed[0]), sealed[1])

    def _fly(self, batch: Sealed) -> Sealed:
        place = _place(batch)
        self._flying[place] = batch
        if place not in self._delivered:
            self._carried.put(place, batch.lsns)
        return batch

    def delivered(self, batch: Sealed, now: float) -> None:
        """The log has it."""
        place = _place(batch)
        known = self._outbox.sealed.get(*place)
        if known is None or known.digest != batch.digest:
            return  # a late word: it is answered, or an earlier life's batch of the same number
        self._flying.pop(place, None)
        self._resend.discard(place)  # its client was given up, and had brought it over all the same
        self._carried.drop(place)
        wait = self._delivered.setdefault(place, _Wait(0.0, 0))
        wait.due = now + min(AGAIN_CAP_SECONDS, AGAIN_SECONDS * (1 << min(wait.attempts, 10)))
        wait.attempts += 1

    def failed(self, batch: Sealed) -> None:
        """The client gave it up before the log had it."""
        if self._flying.pop(_place(batch), None) is not None:
            self._resend.add(_place(batch))

    def answered(self, place: BatchPlace) -> None:
        """A verdict has closed it."""
        self._delivered.pop(place, None)
        self._flying.pop(place, None)
        self._carried.drop(place)

    def deferred(self, space: str, partition: int, now: float) -> None:
        """The cloud does not take some commands for now: they are sealed again after a while."""
        self._outbox.queue.held.deferred((space, partition), now)

    def forget(self, space: str, partition: int) -> None:
        """A partition's life is over, and with it all that was sent."""
        for places in (self._flying, self._delivered):
            for place in [place for place in places if place[:2] == (space, partition)]:
                del places[place]
        self._resend.forget(space, partition)
        self._carried.forget(space, partition)

    def refused(self, space: str, partition: int, now: float) -> bool:
        """The cloud did not take this partition's batches (yet): those that the log has go out again soon. Were there any?"""
        meant = [wait for place, wait in self._delivered.items() if place[:2] == (space, partition)]
        for wait in meant:
            wait.refused = True
            wait.due = now + min(AGAIN_CAP_SECONDS, REFUSED_SECONDS * (1 << min(max(wait.attempts - 1, 0), 10)))
        return bool(meant) or any(place[:2] == (space, partition) for place in self._flying)

    def at_once(self, now: float) -> None:
        """The registry says something else of this device: what was put off or refused for what it said before goes out again."""
        self._outbox.queue.held.at_once()
        for wait in self._delivered.values():
            if wait.refused:
                wait.due, wait.attempts, wait.refused = now, 1, False

    def early(self, places: Iterable[BatchPlace], now: float) -> None:
        """These came before their predecessor, or found no room."""
        for place in places:
            wait = self._delivered.get(place)
            if wait is not None:
                wait.due = now + min(AGAIN_CAP_SECONDS, EARLY_SECONDS * (1 << min(wait.attempts - 1, 10)))

    def tick(self, now: float) -> bool:
        """Queue what is due again; is there something?"""
        for place, wait in self._delivered.items():
            if wait.due <= now:
                self._resend.add(place)
                wait.due = now + AGAIN_CAP_SECONDS  # when it is delivered it gets a new time
        self._outbox.queue.held.tick(now)
        return self.waiting


def _place(batch: Sealed) -> BatchPlace:
    return (batch.topic.rpartition(".")[0], batch.partition, batch.number)
