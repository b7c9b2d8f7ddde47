"""What the cloud has deferred, with all that stands behind it on its documents; and when it is tried again.

Every partition is on its own: what one worker does not know yet is no reason to hold what another one takes. A partition is tried in rounds. What
is held there goes out as it did before, in many batches if it is much, and the cloud may defer each of them: that is one word, not many.
So the pause before the next round doubles with each round that was in vain, and with nothing else: a long queue comes back as soon as a short
one, and nobody waits for longer than the reason has lasted. A partition that was not deferred again for as long as its pause is
as good as new.

Which commands are held is in the store (the last class of the outbox) and is counted from there; the rounds are of this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
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


@dataclass(frozen=True, slots=True)
class _Pause:
    """When the next round begins, and how long that is."""

    due: float
    seconds: float


class Held:
    """The held commands of one replica, counted, and the pauses of their partitions."""

    def __init__(self) -> None:
        self._queues: dict[Partition, _Queue] = {}
        self._pauses: dict[Partition, _Pause] = {}
        self._released: set[Partition] = set()

    # -- what is held

    def __len__(self) -> int:
        return sum(queue.commands for queue in self._queues.values())

    def count(self, partition: Partition, documents: Iterable[bytes], sign: int = 1) -> None:
        """A command with these documents is held, or (-1) no longer."""
        queue = self._queues.setdefault(partition, _Queue())
        queue.commands += sign
        for document in documents:
            queue.documents[document] += sign
            if not queue.documents[document]:
                del queue.documents[document]
        if not queue.commands:
            del self._queues[partition]
            self._released.discard(partition)

    def behind(self, partition: Partition, documents: Iterable[bytes]) -> bool:
        """Would a command on these documents overtake a held one?"""
        queue = self._queues.get(partition)
        return queue is not None and not queue.documents.keys().isdisjoint(documents)

    def forget(self) -> None:
        """Nothing is held as far as is known: all of it will be counted."""
        self._queues.clear()

    # -- when it is tried again

    @property
    def released(self) -> Set[Partition]:
        """The partitions whose round is under way: what they hold may be sealed."""
        return self._released & self._queues.keys()

    @property
    def due(self) -> int:
        """How many commands may be sealed."""
        return sum(self._queues[partition].commands for partition in self.released)

    def release(self, partitions: Set[Partition] | None = None) -> None:
        """Begin a round, of all partitions that hold something if none is named, and wait for nothing."""
        held = self._queues.keys()
        self._released |= held if partitions is None else held & partitions

    def deferred(self, partition: Partition, now: float) -> None:
        """The cloud has deferred commands of one of its batches: the round was in vain."""
        self._released.discard(partition)
        pause = self._pauses.get(partition)
        if pause is not None and now < pause.due:
            return  # and it is known that it was
        seconds = PAUSE_SECONDS if pause is None else min(CAP_SECONDS, 2 * pause.seconds)
        self._pauses[partition] = _Pause(now + seconds, seconds)

    def tick(self, now: float) -> None:
        """Begin the rounds that are due; at once where nobody knows of a pause, as after a seal that the disk refused."""
        for partition, pause in list(self._pauses.items()):
            if pause.due + pause.seconds <= now:
                del self._pauses[partition]
        self.release({p for p in self._queues if p not in self._pauses or self._pauses[p].due <= now})

    def at_once(self) -> None:
        """The reason may be gone: no pause counts any more."""
        self.release(self._pauses.keys())
        self._pauses.clear()
