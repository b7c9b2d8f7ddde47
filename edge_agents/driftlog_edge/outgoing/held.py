"""What the cloud has deferred, with all that stands behind it on its documents; and when it is tried again.

Every partition is on its own: what one worker does not know yet is no reason to hold what another one takes. A partition is tried in rounds, each
from the first command that it holds to the last that it held when the round began. A round goes on to its end whatever is said of its first batches,
for a worker may take what stands behind them: only what stands behind a deferred command on its documents waits with it. What is
deferred in a round is not tried again in the same one.

The pause before the next round doubles with each round of which something was deferred, and with nothing else: a long queue comes back as
soon as a short one, and nobody waits for longer than the reason has lasted. A partition that was not deferred again for as long as its pause is
as good as new.

A round tries only what may leave: what needs power or a network that costs nothing stays, and so does what leaves in a rhythm until that has passed
since it was written, or tried last; all that stands behind it on its documents stays with it. Where something urgent is held, all before it in its partition
goes along. A round that has passed by such commands alone would pass by them again, so the next one waits until the first of their moments comes, or `wake`.

Which commands are held is in the store (the last class of the outbox) and is counted from there; the rounds, and since when something waits, are of
this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeAlias

PAUSE_SECONDS = 10.0
CAP_SECONDS = 3600.0
NEVER = float("inf")

Partition: TypeAlias = tuple[str, int]
"""(space, partition)"""


@dataclass(slots=True)
class _Queue:
    """What is held of one partition."""

    commands: int = 0
    documents: Counter[bytes] = field(default_factory=Counter)
    """How many of them change a document."""
    last: int = field(default=0, compare=False)
    """No lsn of them is greater; what has left may have been."""
    urgent: int = 0
    """How many of them are urgent."""
    last_urgent: int = field(default=0, compare=False)
    """No lsn of those is greater."""


@dataclass(slots=True)
class Round:
    """One attempt at all that a partition holds."""

    end: int
    """Its last lsn: what is held later waits for the next round."""
    began: float | None = None
    """When; None if at once, and then nothing waits for its rhythm."""
    tried: int = 0
    """Up to which lsn it has come."""
    blocked: set[bytes] = field(default_factory=set)
    """The documents of what was deferred in it, and of what had to wait behind that."""

    come: dict[int, bool] = field(default_factory=dict)
    """Of the rhythms that were asked for: has their moment come?"""
    kept_until: float | None = None
    """When the first moment comes for which it has left something where it was; None where it has left nothing."""

    def keep(self, documents: Set[bytes], until: float) -> None:
        """A command on these documents stays, and with it what stands behind it."""
        self.blocked |= documents
        self.kept_until = until if self.kept_until is None else min(until, self.kept_until)

    def passes(self, documents: Set[bytes]) -> bool:
        """Must a command on these documents wait behind a deferred one? What stands on any of them then waits too."""
        if self.blocked.isdisjoint(documents):
            return False
        self.blocked |= documents
        return True


@dataclass(frozen=True, slots=True)
class _Pause:
    """When the next round begins, and how long that is."""

    due: float
    seconds: float


class Held:
    """The held commands of one replica, counted, and the rounds and pauses of their partitions."""

    def __init__(self) -> None:
        self._queues: dict[Partition, _Queue] = {}
        self._pauses: dict[Partition, _Pause] = {}
        self._rounds: dict[Partition, Round] = {}
        self._since: dict[Partition, dict[int, float]] = {}
        """Since when what leaves in a rhythm waits, by its seconds; `NEVER` until time is known."""
        self._rests: dict[Partition, float] = {}
        """Until when there is nothing to try where only such commands were left that may not leave."""

    # -- what is held

    def __len__(self) -> int:
        return sum(queue.commands for queue in self._queues.values())

    def count(
        self, partition: Partition, lsn: int, documents: Iterable[bytes], sign: int = 1, *, urgent: bool = False
    ) -> None:
        """A command with these documents is held, or (-1) no longer."""
        queue = self._queues.setdefault(partition, _Queue())
        queue.commands += sign
        queue.last = max(queue.last, lsn)
        if urgent:
            queue.urgent += sign
            queue.last_urgent = max(queue.last_urgent, lsn)
        for document in documents:
            queue.documents[document] += sign
            if not queue.documents[document]:
                del queue.documents[document]
        if not queue.commands:
            del self._queues[partition]
            for known in (self._rounds, self._since, self._rests):
                known.pop(partition, None)

    def behind(self, partition: Partition, documents: Iterable[bytes]) -> bool:
        """Would a command on these documents overtake a held one?"""
        queue = self._queues.get(partition)
        return queue is not None and not queue.documents.keys().isdisjoint(documents)

    def goes_along(self, partition: Partition, lsn: int) -> bool:
        """Is something urgent held, and this no later?"""
        queue = self._queues.get(partition)
        return queue is not None and queue.urgent > 0 and lsn <= queue.last_urgent

    def forget(self) -> None:
        """Nothing is held as far as is known: all of it will be counted."""
        self._queues.clear()

    @property
    def partitions(self) -> Collection[Partition]:
        """Those that hold something."""
        return self._queues.keys()

    # -- when it is tried again

    @property
    def rounds(self) -> Mapping[Partition, Round]:
        """The rounds under way: what lies between `tried` and `end` may be sealed."""
        return self._rounds

    def tried(self, partition: Partition, lsn: int) -> None:
        """The round, if it is not over, has come to this lsn (0: it has not moved)."""
        if lsn and partition in self._rounds:
            self._rounds[partition].tried = lsn

    def over(self, partition: Partition) -> None:
        """The round has come to its end."""
        until = self._rounds.pop(partition).kept_until
        if until is not None and partition in self._queues:
            self._rests[partition] = until

    def wake(self, partition: Partition | None = None) -> None:
        """What may leave has changed, there or everywhere: a round may find something."""
        for there in list(self._queues) if partition is None else [partition]:
            self._rests.pop(there, None)
            if there in self._rounds:
                self._rounds[there].kept_until = 0.0

    def begins_to_wait(self, partition: Partition, rhythm: int, *, anew: bool = False) -> None:
        """A command is held that leaves in this rhythm of seconds (0: in none); `anew` if it was tried just now."""
        if rhythm:
            since = self._since.setdefault(partition, {})
            since[rhythm] = NEVER if anew else since.get(rhythm, NEVER)

    def moment(self, partition: Partition, rhythm: int) -> float | None:
        """None if what leaves in this rhythm goes with the round under way; else when it may. Nobody knows since when what was there at the start has
        waited: its moment has come.
        """
        now, since = self._rounds[partition], self._since.get(partition, {})
        if not rhythm or now.began is None:
            return None
        at = since.get(rhythm, now.began - rhythm)
        due = now.began if at == NEVER else at + rhythm
        if rhythm not in now.come:
            now.come[rhythm] = at != NEVER and due <= now.began
            if now.come[rhythm]:
                since.pop(rhythm, None)
        return None if now.come[rhythm] else due

    def release(self, partitions: Iterable[Partition] | None = None, began: float | None = None) -> None:
        """Begin a round, of all partitions that hold something if none is named; at once, or at this time."""
        for partition in self._queues if partitions is None else partitions:
            if partition in self._queues:
                self._rounds[partition] = Round(self._queues[partition].last, began)
                self._rests.pop(partition, None)

    def blocked(self, partition: Partition, documents: Set[bytes]) -> None:
        """Commands on these documents were deferred: what stands behind them is not tried in this round."""
        if partition in self._rounds:
            self._rounds[partition].blocked |= documents

    def deferred(self, partition: Partition, now: float) -> None:
        """The cloud has deferred commands of one of its batches."""
        self._rests.pop(partition, None)
        pause = self._pauses.get(partition)
        if pause is not None and now < pause.due:
            return  # of a round of which it is known
        seconds = PAUSE_SECONDS if pause is None else min(CAP_SECONDS, 2 * pause.seconds)
        self._pauses[partition] = _Pause(now + seconds, seconds)

    def tick(self, now: float) -> None:
        """Begin the rounds that are due; at once where nobody knows of a pause, as after a seal that the disk refused."""
        for partition, pause in list(self._pauses.items()):
            if pause.due + pause.seconds <= now:
                del self._pauses[partition]
        for since in self._since.values():
            for rhythm in [rhythm for rhythm, at in since.items() if at == NEVER]:
                since[rhythm] = now
        due = (p for p in self._queues if p not in self._pauses or self._pauses[p].due <= now)
        self.release([p for p in due if p not in self._rounds and self._rests.get(p, now) <= now], now)

    def at_once(self) -> None:
        """The reason may be gone: no pause counts any more."""
        self.release(list(self._pauses))
        self._pauses.clear()
