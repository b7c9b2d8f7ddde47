"""Which batch goes out next, and which goes out again. No I/O: it is told what happened and answers what to send.

A sealed batch stays open until a receipt answers it. What was on its way when the agent died, or was purged, goes out again in
order, under its old number. A batch that was delivered but never answered goes out again after a while that doubles, because the
cloud may have refused it (a device enrolled late) or had no room to park it; a duplicate costs it nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from driftlog_edge.outgoing.outbox import Open, Outbox
from driftlog_edge.ports import Place, Sealed

AGAIN_SECONDS = 120.0
REFUSED_SECONDS = 10.0
AGAIN_CAP_SECONDS = 3600.0


@dataclass(slots=True)
class _Wait:
    """An open batch: when it should go out again, and how often it has."""

    due: float
    attempts: int


class Shipper:
    """The outgoing side of one replica."""

    def __init__(self, outbox: Outbox, in_flight: int) -> None:
        self._outbox = outbox
        self._limit = in_flight
        self._resend: deque[Open] = deque()
        self._flying: dict[tuple[str, int, int], Sealed] = {}
        self._open: dict[tuple[str, int, int], _Wait] = {}
        self.resume()

    def resume(self) -> None:
        """Nothing is on its way any more; every open batch goes out again, in order."""
        self._flying.clear()
        self._resend = deque(self._outbox.open_batches())

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return not (self._flying or self._resend)

    @property
    def waiting(self) -> bool:
        """Is there something to send?"""
        return bool(self._resend) or self._outbox.waiting > 0

    def carries(self, lsn: int) -> bool:
        """Is this sealed command in a batch that the log is not known to have?"""
        if any(lsn in batch.lsns for batch in self._flying.values() if not self._arrived(_place(batch))):
            return True
        return any(
            lsn in batch.lsns
            for batch in self._resend
            if not self._arrived((batch.space, batch.partition, batch.number))
        )

    def _arrived(self, place: tuple[str, int, int]) -> bool:
        wait = self._open.get(place)
        return wait is not None and wait.attempts > 0

    def next(self) -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and what to write before it is sent; None when the way is full or nothing waits."""
        if len(self._flying) >= self._limit:
            return None
        if self._resend:
            batch = self._outbox.reseal(self._resend.popleft())
            return self._fly(batch), {}
        sealed = self._outbox.seal()
        if sealed is None:
            return None
        return self._fly(sealed[0]), sealed[1]

    def _fly(self, batch: Sealed) -> Sealed:
        self._flying[_place(batch)] = batch
        return batch

    def delivered(self, batch: Sealed, now: float) -> None:
        """The log has it."""
        self._flying.pop(_place(batch), None)
        wait = self._open.setdefault(_place(batch), _Wait(0.0, 0))
        wait.due = now + min(AGAIN_CAP_SECONDS, AGAIN_SECONDS * (1 << min(wait.attempts, 10)))
        wait.attempts += 1

    def answered(self, space: str, partition: int, number: int) -> None:
        """A receipt has closed it."""
        self._open.pop((space, partition, number), None)

    def refused(self, lsns: Iterable[int], now: float) -> None:
        """The cloud did not take these (yet): their batches go out again soon."""
        meant = set(lsns)
        for batch in self._outbox.open_batches():
            if meant & set(batch.lsns):
                wait = self._open.setdefault((batch.space, batch.partition, batch.number), _Wait(0.0, 0))
                wait.due = now + min(AGAIN_CAP_SECONDS, REFUSED_SECONDS * (1 << min(wait.attempts, 10)))

    def tick(self, now: float) -> bool:
        """Queue what is due again; is there something?"""
        due = {place for place, wait in self._open.items() if wait.due <= now}
        if due:
            for batch in self._outbox.open_batches():
                if (batch.space, batch.partition, batch.number) in due:
                    self._resend.append(batch)
            for place in due:  # closed ones are forgotten, sent ones get a new time when delivered
                self._open[place].due = now + AGAIN_CAP_SECONDS
        return bool(self._resend)


def _place(batch: Sealed) -> tuple[str, int, int]:
    return (batch.topic.rpartition(".")[0], batch.partition, batch.number)
