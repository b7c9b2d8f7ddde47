"""The network between every node and the log, and the idempotent producer that sends over it.

Each node has one link to the log. A link delays (mostly little, sometimes much) and is cut for planned windows, short or hours
long; what meets a cut waits and is tried again by its sender, which is what loss looks like from above.

A producer keeps order within a partition and appends each message once per process life, as Kafka's idempotent producer does; between
partitions anything goes. When its process dies, what was on the wire (a prefix of each partition's queue) may still arrive,
late, after the next life has begun to send: the zombie's write. A message that cannot be delivered within the timeout fails, and
whether it arrives nonetheless is anybody's guess.

`rough` topics are worse than Kafka is: their records also arrive twice, or before their predecessor, because the merge must
stand any route (a gateway, a restored backup, another producer).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.simulation.life import Life
from tests.simulation.log import LogRecord, SimulatedLog
from tests.simulation.scheduler import Event, Scheduler

Delivered = Callable[[LogRecord | None], None]
"""Told of each message: its record, or None if it failed."""


class Network:
    """Delays and cuts of all links. Once `healed`, links are good and stay so."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._cuts: dict[str, list[tuple[int, int]]] = {}
        self.healed = False

    def cut(self, node: str, start_ms: int, end_ms: int) -> None:
        """Plan a partition of the network: `node` reaches nothing from start to end. Cuts of a node do not overlap."""
        cuts = self._cuts.setdefault(node, [])
        cuts.append((start_ms, end_ms))
        cuts.sort()

    def cut_off(self, node: str, length_ms: int) -> bool:
        """Cut a link from now on for a while, unless it is cut then anyway. Was it?"""
        now = self.scheduler.now
        if any(start < now + length_ms and now < end for start, end in self._cuts.get(node, [])):
            return False
        self.cut(node, now, now + length_ms)
        return True

    def cuts(self, node: str) -> Sequence[tuple[int, int]]:
        """When the link is down, or was: start and end of each, as planned."""
        return self._cuts.get(node, [])

    def heal(self) -> None:
        """End all cuts, now and for good."""
        self.healed = True

    def reachable(self, node: str) -> bool:
        """Is the link up now?"""
        return self.up_from(node, self.scheduler.now) == self.scheduler.now

    def up_from(self, node: str, time_ms: int) -> int:
        """The first moment from `time_ms` on at which the link is up."""
        if self.healed:
            return time_ms
        cuts = self._cuts.get(node, [])
        i = bisect_right(cuts, (time_ms, 1 << 62)) - 1
        while 0 <= i < len(cuts) and cuts[i][0] <= time_ms < cuts[i][1]:
            time_ms = cuts[i][1]
            i += 1
        return time_ms

    def delay(self) -> int:
        """How long one crossing takes."""
        scheduler = self.scheduler
        if scheduler.chance(0.03) and not self.healed:
            return scheduler.between(200, 5_000)
        return scheduler.between(1, 20)

    def arrival(self, node: str) -> int:
        """When something sent now arrives."""
        return self.up_from(node, self.scheduler.now) + self.delay()


@dataclass(slots=True)
class _Message:
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    arrives: int
    told: Delivered
    event: Event | None = None
    done: bool = False


class Producer:
    """The producer of one process life."""

    def __init__(
        self,
        network: Network,
        log: SimulatedLog,
        life: Life,
        node: str,
        *,
        timeout_ms: int,
        rough: Sequence[str] = (),
    ) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self._log = log
        self._life = life
        self._node = node
        self._timeout_ms = timeout_ms
        self._rough = frozenset(rough)
        self._queues: dict[tuple[str, int], list[_Message]] = {}
        self.appended: Callable[[LogRecord], None] = lambda record: None
        """Told of each record at the moment at which the log has it."""

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        told: Delivered,
    ) -> None:
        """Queue a message; `told` hears of it once, if the process lives."""
        queue = self._queues.setdefault((topic, partition), [])
        arrives = self._network.arrival(self._node)
        if queue:
            arrives = max(arrives, queue[-1].arrives)
        message = _Message(topic, partition, key, value, tuple(headers), arrives, told)
        queue.append(message)
        if arrives > self._scheduler.now + self._timeout_ms:
            self._fail(message)
        else:
            self._schedule(message)

    def _schedule(self, message: _Message) -> None:
        label = f"{self._node} arrives {message.topic}[{message.partition}]"
        message.event = self._scheduler.at(message.arrives, label, lambda: self._arrive(message))

    def _fail(self, message: _Message) -> None:
        told, message.told = message.told, lambda _: None
        if self._scheduler.chance(0.3):
            self._schedule(message)
        else:
            message.done = True
            self._queues[message.topic, message.partition].remove(message)
        self._life.after(self._timeout_ms, "delivery failed", lambda: told(None))

    def _arrive(self, message: _Message) -> None:
        if message.done:
            return
        queue = self._queues[message.topic, message.partition]
        rough = message.topic in self._rough and not self._network.healed
        later = next((m for m in queue if m is not message and not m.done), None)
        if rough and later is not None and self._scheduler.chance(0.1):
            self._append(later)
        self._append(message)
        if rough and self._scheduler.chance(0.1):
            again = self._scheduler.between(1, 120_000)
            self._scheduler.after(
                again, f"duplicate {message.topic}[{message.partition}]", lambda: self._repeat(message)
            )

    def _append(self, message: _Message) -> None:
        message.done = True
        self._queues[message.topic, message.partition].remove(message)
        record = self._log.append(message.topic, message.partition, message.key, message.value, message.headers)
        back = self._network.up_from(self._node, self._scheduler.now) + self._network.delay() - self._scheduler.now
        told = message.told
        self._life.after(back, "delivered", lambda: told(record))
        self.appended(record)

    def _repeat(self, message: _Message) -> None:
        self._log.append(message.topic, message.partition, message.key, message.value, message.headers)

    def abandon(self) -> None:
        """The process is dead or purges: of each queue a prefix is on the wire and arrives later, the rest is lost."""
        for queue in self._queues.values():
            waiting = [m for m in queue if not m.done]
            on_wire = self._scheduler.between(0, len(waiting)) if self._scheduler.chance(0.5) else 0
            late = self._scheduler.between(0, 40_000) if self._scheduler.chance(0.5) else 0
            for i, message in enumerate(waiting):
                if message.event is not None:
                    message.event.cancel()
                message.told = lambda _: None
                if i < on_wire and message.event is not None:
                    message.arrives += late
                    self._schedule(message)
                else:
                    message.done = True
                    queue.remove(message)
