"""Which batch goes out next, and which goes out again. No I/O: it is told what happened and answers what to send.

A sealed batch stays open until the cloud's row answers it. It goes out again only for a reason: the client that had it is gone or gave up
before the log had it; the process began anew and nobody knows; the cloud has not taken it; or the log has it and no answer came for a while that
doubles. A batch that is on its way or was delivered is never sent again merely because a connection was.

Where the log itself refuses a batch, nothing goes to that partition for a while that doubles (`pauses`).

Again, too, it leaves only when power and network allow what it holds, unless something of its partition may leave and stands behind it.

The cloud does not take what comes before its predecessor or finds no room in the row. Which that is follows from where things lie in the log:
a row tells of all records up to one, so what lies before that and is behind the row's last batch was not taken, and what lies behind it is not decided
yet. What was not taken goes again at once, in order, as long as the chain moves. Where it has not moved since the last time there is a pause that
doubles, and nothing new is sealed behind what cannot go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from driftlog_edge.outgoing.flow import Departure, Flow
from driftlog_edge.outgoing.held import Partition
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.pauses import Pauses
from driftlog_edge.outgoing.resends import BatchPlace, Carried, Resends
from driftlog_edge.ports import Place, Sealed
from driftlog_schemas.batch_codec import MAX_COMMAND_BYTES

FLYING_BYTES = 16 << 20
"""When batches on their way take so much, no other is given to the client: on a fast link the measure of it alone would let it hold any number."""
AGAIN_SECONDS = 120.0
REFUSED_SECONDS = 10.0
STUCK_SECONDS = 1.0
STUCK_CAP_SECONDS = 30.0
AGAIN_CAP_SECONDS = 3600.0


class _Flight(NamedTuple):
    """A batch on its way to the log."""

    size: int
    departure: Departure | None


@dataclass(slots=True)
class _Wait:
    """A batch that the log has: when it should go out again, and how often it was delivered."""

    due: float
    attempts: int
    refused: bool = False
    """Did the cloud say of its partition's batches that it does not take them?"""
    offset: int = -1
    """Where the log has it, the last time that it was delivered; -1 where nobody knows."""


@dataclass(slots=True)
class _Stuck:
    """A partition of which the cloud has not taken something."""

    last: int
    """With which batch its chain ended then."""
    due: float
    """When that goes again."""
    first: int
    """The first batch of it."""
    offset: int
    """Where the log had it when it was not taken the last time."""
    attempts: int = 0


class Shipper:
    """The outgoing side of one replica."""

    def __init__(self, outbox: Outbox, in_flight: int, flow: Flow | None = None) -> None:
        """Without a `flow` the link carries everything."""
        self._outbox = outbox
        self._limit = in_flight
        self._flow = flow
        unsure = outbox.sealed.all()
        self._resend = Resends(batch.place for batch in unsure)
        self._carried = Carried((batch.place, batch.lsns) for batch in unsure)
        self._new_first = True
        """Whose turn was it last: that of what is new?"""
        self._flying: dict[BatchPlace, _Flight] = {}
        self._delivered: dict[BatchPlace, _Wait] = {}
        self._stuck: dict[Partition, _Stuck] = {}
        self._classes = dict.fromkeys((batch.place for batch in unsure), 0)
        """The most urgent class of each batch without a verdict; of what was sealed before the start nobody knows it, and it goes."""
        self._shut: frozenset[Partition] = frozenset()
        """Where nothing new is sealed for now: a person may have to decide about it."""
        self._closed: frozenset[Partition] = frozenset()
        """Where nothing new is sealed any more: the log that it would go to is closed, or about to be."""
        self._kept: frozenset[Partition] = frozenset()
        """Where nothing goes again for now: power or network are not for what is in it."""
        self._pauses = Pauses()
        outbox.queue.held.release()  # nobody remembers how long they have waited

    def resume(self) -> None:
        """The client is gone: what it had and the log is not known to have goes out again."""
        if self._flow is not None:
            self._flow.forget()
        for place in self._flying:
            self._resend.add(place)
        self._flying.clear()
        self._keep()

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return not (self._flying or self._goes_again(self._kept))

    @property
    def settled(self) -> bool:
        """Has everything that the log has been answered?"""
        return not self._delivered

    @property
    def holding(self) -> int:
        """How many commands wait because the cloud has deferred them, or stand behind such."""
        return len(self._outbox.queue.held)

    @property
    def why_holding(self) -> str:
        """What the cloud has said of the first that it has deferred, also before this agent was started; empty where nothing is held."""
        return self._outbox.why_held()

    @property
    def waiting(self) -> bool:
        """Is there something to send?"""
        return self._goes_again(self._off) or self._outbox.queue.ready

    def _goes_again(self, off: frozenset[Partition]) -> bool:
        """Is there a batch that may go out again, of no such partition?"""
        return any(partition not in off for partition in self._resend.partitions)

    @property
    def _off(self) -> frozenset[Partition]:
        """Where nothing goes now."""
        return self._kept | self._pauses.partitions

    @property
    def spent(self) -> bool:
        """Does what waits stand still because the link's budget is used up?"""
        return self._flow is not None and self._flow.bucket.pause() > 0

    @property
    def passing(self) -> bool:
        """Was nothing found to send only because much was passed by? Then the next look may find something."""
        return self._outbox.passing and self._room

    def carries(self, lsn: int) -> bool:
        """Is this sealed command in a batch that the log is not known to have?"""
        return lsn in self._carried

    def next(self) -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and what to write before it is sent; None when the way is full or nothing waits.

        What goes again and what is new take turns, and nothing new overtakes what goes again in its partition.
        """
        if not self._room:
            return None
        most = MAX_COMMAND_BYTES if self._flow is None else self._flow.batch_bytes
        self._new_first = not self._new_first
        off = self._off
        if self._new_first and (
            sealed := self._outbox.seal(
                {*self._resend.partitions, *self._pauses.partitions, *self._stuck, *self._shut, *self._closed}, most
            )
        ):
            return self._fly(sealed[0]), sealed[1]
        while place := self._resend.take(off):
            batch = self._outbox.sealed.get(*place)
            if batch is not None:
                return self._fly(self._outbox.reseal(batch)._replace(urgency=self._classes.get(place, 0))), {}
            self._carried.drop(place)
            self._classes.pop(place, None)
        sealed = self._outbox.seal({*off, *self._stuck, *self._shut, *self._closed}, most)
        return None if sealed is None else (self._fly(sealed[0]), sealed[1])

    @property
    def _room(self) -> bool:
        """May another batch go?"""
        flying = self._flying_bytes
        fits = len(self._flying) < self._limit and flying < FLYING_BYTES
        return fits and (self._flow is None or self._flow.room(flying))

    @property
    def _flying_bytes(self) -> int:
        return sum(flight.size for flight in self._flying.values())

    def _fly(self, batch: Sealed) -> Sealed:
        place, size = _place(batch), len(batch.value)
        departure = None if self._flow is None else self._flow.sent(size, self._flying_bytes)
        self._flying[place] = _Flight(size, departure)
        self._classes[place] = batch.urgency
        if place not in self._delivered:
            self._carried.put(place, batch.lsns)
        return batch

    def delivered(self, batch: Sealed, now: float) -> None:
        """The log has it."""
        place = _place(batch)
        self._pauses.taken(place[:2])
        known = self._outbox.sealed.get(*place)
        if known is None or known.digest != batch.digest:
            return  # a late word: it is answered, or an earlier life's batch of the same number
        flight = self._flying.pop(place, None)
        if self._flow is not None and flight is not None and flight.departure is not None:
            self._flow.arrived(flight.size, flight.departure)
        self._resend.discard(place)  # its client was given up, and had brought it over all the same
        self._carried.drop(place)
        wait = self._delivered.setdefault(place, _Wait(0.0, 0))
        wait.due = now + min(AGAIN_CAP_SECONDS, AGAIN_SECONDS * (1 << min(wait.attempts, 10)))
        wait.attempts += 1
        wait.offset = batch.offset

    def failed(self, batch: Sealed) -> None:
        """The client gave it up before the log had it."""
        if self._flying.pop(_place(batch), None) is not None:
            self._resend.add(_place(batch))
            self._keep()

    def not_taken(self, batch: Sealed, now: float) -> None:
        """The log has refused it: it goes out again after a pause."""
        self._pauses.refused(_place(batch)[:2], now)
        self.failed(batch)

    def answered(self, place: BatchPlace) -> None:
        """A verdict has closed it."""
        self._delivered.pop(place, None)
        self._flying.pop(place, None)
        self._classes.pop(place, None)
        self._carried.drop(place)

    def deferred(self, space: str, partition: int, now: float) -> None:
        """The cloud does not take some commands for now: they are sealed again after a while."""
        self._outbox.queue.held.deferred((space, partition), now)

    def forget(self, space: str, partition: int) -> None:
        """A partition's life is over, and with it all that was sent."""
        for places in (self._flying, self._delivered, self._classes):
            for place in [place for place in places if place[:2] == (space, partition)]:
                del places[place]
        self._stuck.pop((space, partition), None)
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

    def told(self, space: str, partition: int, last: int, offset: int, now: float) -> None:
        """The chain of a partition ends with batch `last`, after all that the log has up to `offset`."""
        here = (space, partition)
        stuck = self._stuck.get(here)
        if stuck is not None and last > stuck.last:
            stuck = None
            del self._stuck[here]
        left = {
            place[2]: wait
            for place, wait in self._delivered.items()
            if place[:2] == here and place[2] > last and 0 <= wait.offset <= offset and not self._on_its_way(place)
        }
        if not left:
            return
        first = min(left)
        if stuck is None:
            stuck = self._stuck[here] = _Stuck(last, now, first, left[first].offset)
        elif first == stuck.first and left[first].offset > stuck.offset:  # else it is what came behind that one
            stuck.offset = left[first].offset
            stuck.due = now + min(STUCK_CAP_SECONDS, STUCK_SECONDS * (1 << min(stuck.attempts, 10)))
            stuck.attempts += 1
        for wait in left.values():
            wait.due = stuck.due
        self._queue_again(now)
        self._keep()

    def _on_its_way(self, place: BatchPlace) -> bool:
        return place in self._flying or place in self._resend

    def shut(self, partitions: frozenset[Partition]) -> None:
        """In these nothing new is sealed until this is said again; what is sealed goes."""
        self._shut = partitions

    def close(self, partitions: frozenset[Partition]) -> bool:
        """In these nothing is sealed until this is said again. Is that news?"""
        news, self._closed = self._closed != partitions, partitions
        return news

    def allow(self, *, saving: bool, metered: bool) -> None:
        """What power and network allow: on a battery that is low only urgent commands leave, and some wait for a network without a price."""
        moments = self._outbox.queue.moments
        if (moments.saving, moments.metered) != (saving, metered):
            moments.saving, moments.metered = saving, metered
            self._outbox.queue.held.wake()
            self._keep()

    def _keep(self) -> None:
        """Find out where nothing may go again."""
        queue = self._outbox.queue
        if not (queue.moments.saving or queue.moments.metered):
            self._kept = frozenset()
            return
        most_urgent: dict[Partition, int] = {}
        for place, urgency in self._classes.items():
            most_urgent[place[:2]] = min(urgency, most_urgent.get(place[:2], urgency))
        self._kept = frozenset(
            place
            for place in self._resend.partitions
            if queue.moments.shut(most_urgent.get(place, 0)) and not queue.schedule.leaves(place)
        )

    def tick(self, now: float) -> bool:
        """Queue what is due again; is there something?"""
        self._pauses.tick(now)
        self._queue_again(now)
        self._outbox.queue.held.tick(now)
        self._outbox.queue.moments.tick(now)
        self._keep()
        return self.waiting

    def _queue_again(self, now: float) -> None:
        for place, wait in self._delivered.items():
            if wait.due <= now:
                self._resend.add(place)
                wait.due = now + AGAIN_CAP_SECONDS  # when it is delivered it gets a new time


def _place(batch: Sealed) -> BatchPlace:
    return (batch.topic.rpartition(".")[0], batch.partition, batch.number)
