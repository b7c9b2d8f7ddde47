"""What the cloud has deferred, with all that stands behind it on its documents; and when it is tried again.

Every partition is on its own: what one worker does not know yet is no reason to hold what another one takes. A partition is tried in rounds, each
from the first command that it holds to the last that it held when the round began. A round goes on to its end whatever is said of its first batches,
for a worker may take what stands behind them: only what stands behind a deferred command on its documents waits with it. What is
deferred in a round is not tried again in the same one.

The pause before the next round doubles with each round of which something was deferred, and with nothing else: a long queue comes back as
soon as a short one, and nobody waits for longer than the reason has lasted. A partition that was not deferred again for as long as its pause is
as good as new.

Which commands are held is in the store (the last class of the outbox) and is counted from there; the rounds are of this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeAlias

PAUSE_SECONDS = 10.0
CAP_SECONDS = 3600.0

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


@dataclass(slots=True)
class Round:
    """One attempt at all that a partition holds."""

    end: int
    """Its last lsn: what is held later waits for the next round."""
    tried: int = 0
    """Up to which lsn it has come."""
    blocked: set[bytes] = field(default_factory=set)
    """The documents of what was deferred in it, and of what had to wait behind that."""

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

    # -- what is held

    def __len__(self) -> int:
        return sum(queue.commands for queue in self._queues.values())

    def count(self, partition: Partition, lsn: int, documents: Iterable[bytes], sign: int = 1) -> None:
        """A command with these documents is held, or (-1) no longer."""
        queue = self._queues.setdefault(partition, _Queue())
        queue.commands += sign
        queue.last = max(queue.last, lsn)
        for document in documents:
            queue.documents[document] += sign
            if not queue.documents[document]:
                del queue.documents[document]
        if not queue.commands:
            del self._queues[partition]
            self._rounds.pop(partition, None)

    def behind(self, partition: Partition, documents: Iterable[bytes]) -> bool:
        """Would a command on these documents overtake a held one?"""
        queue = self._queues.get(partition)
        return queue is not None and not queue.documents.keys().isdisjoint(documents)

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
        del self._rounds[partition]

    def release(self, partitions: Iterable[Partition] | None = None) -> None:
        """Begin a round, of all partitions that hold something if none is named, and wait for nothing."""
        for partition in self._queues if partitions is None else partitions:
            if partition in self._queues:
                self._rounds[partition] = Round(self._queues[partition].last)

    def blocked(self, partition: Partition, documents: Set[bytes]) -> None:
        """Commands on these documents were deferred: what stands behind them is not tried in this round."""
        if partition in self._rounds:
            self._rounds[partition].blocked |= documents

    def deferred(self, partition: Partition, now: float) -> None:
        """The cloud has deferred commands of one of its batches."""
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
        due = (p for p in self._queues if p not in self._pauses or self._pauses[p].due <= now)
        self.release([p for p in due if p not in self._rounds])

    def at_once(self) -> None:
        """The reason may be gone: no pause counts any more."""
        self.release(list(self._pauses))
        self._pauses.clear()
