"""An agent's way to the cloud in a world: `ports.Route` on the simulated log and network.

As the Kafka clients behave: the producer keeps order, never gives up, and is purged when the connection ends (a prefix of what it held may
still arrive); the feed delivers what there is, waits until it was worked off, and tells when an end was reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driftlog_edge.ports import Chunk, Extent, Record, Sealed, Unreachable
from tests.simulation.life import Life
from tests.simulation.log import LogRecord
from tests.simulation.network import Producer

if TYPE_CHECKING:
    from tests.simulation.world import World

Place = tuple[str, int]
FOR_EVER_MS = 1 << 50
FETCHED = 12
"""Records of a partition that one look brings at most."""


class SimulatedRoute:
    """To the log of a world, for one life of an agent."""

    def __init__(self, world: World, life: Life, name: str, began: Callable[[str, int, int], None]) -> None:
        self._world = world
        self._life = life
        self._name = name
        self._began = began
        """Told (topic, partition, end) when reading from a place cannot give every state between."""
        self.producers: list[Producer] = []
        self.feed: SimulatedFeed | None = None

    def ship(
        self,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> SimulatedShipping:
        world = self._world
        rough = world.ops if world.faults.rough_route else ()
        made = Producer(world.network, world.log, self._life, self._name, timeout_ms=FOR_EVER_MS, rough=rough)
        self.producers.append(made)
        return SimulatedShipping(world, made, loop, self._name, delivered, trouble)

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[Place, int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> SimulatedFeed:
        self.feed = SimulatedFeed(self._world, self._life, self._name, loop, positions, arrived, self._began)
        return self.feed

    def ask(self) -> SimulatedAsker:
        return SimulatedAsker(self._world, self._name)

    def rest(self) -> None:
        """Nothing asks here by itself."""

    def deliver(self, topic: str, key: bytes, value: bytes, seconds: float) -> None:
        raise AssertionError("no device is wiped in this world")

    def records(
        self, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
    ) -> dict[bytes, Record]:
        if not self._world.network.reachable(self._name):
            raise Unreachable("no answer")
        found: dict[bytes, LogRecord] = {}
        for record in self._world.log.read(topic, partition, 0, end):
            key = record.key or b""
            if key in wanted and record.offset < end and (key not in found or found[key].offset != wanted[key]):
                found[key] = record
        return {key: _as_read(record) for key, record in found.items()}

    def history(self, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float) -> list[bytes]:
        if not self._world.network.reachable(self._name):
            raise Unreachable("no answer")
        found = self._world.log.read(topic, partition, start, max(0, end - start))
        return [r.value for r in found if r.offset < end and r.key == key and r.value is not None]

    def abandon(self) -> None:
        """The process is dead: what was on the wire may arrive."""
        for producer in self.producers:
            producer.abandon()


class SimulatedShipping:
    """`ports.Shipping`."""

    def __init__(
        self,
        world: World,
        producer: Producer,
        loop: asyncio.AbstractEventLoop,
        name: str,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> None:
        self._world = world
        self._producer = producer
        self._loop = loop
        self._name = name
        self._delivered = delivered
        self._trouble = trouble

    def send(self, batch: Sealed) -> None:
        def told(record: LogRecord | None) -> None:
            placed = batch._replace(offset=record.offset, append_ms=record.timestamp_ms) if record else batch
            self._loop.call_soon_threadsafe(self._delivered, placed, None if record else "timed out")

        if not self._world.network.reachable(self._name):
            self._loop.call_soon_threadsafe(self._trouble)
        self._producer.send(batch.topic, batch.partition, batch.key, batch.value, (), told)

    def tell(self, topic: str, key: bytes, value: bytes, done: Callable[[], None]) -> None:
        if self._world.cloud is not None:  # nobody else asks for them
            self._producer.send(topic, 0, key, value, (), lambda record: None)
        self._loop.call_soon_threadsafe(done)

    def close(self, seconds: float = 0.0) -> None:
        self._producer.abandon()


class SimulatedFeed:
    """`ports.Feed`."""

    def __init__(
        self,
        world: World,
        life: Life,
        name: str,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[Place, int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        began: Callable[[str, int, int], None],
    ) -> None:
        self._world = world
        self._life = life
        self._name = name
        self._loop = loop
        self._at = dict(positions)
        self._arrived = arrived
        self._began = began
        self._ended: dict[Place, int] = {}
        self._busy = False
        self._open = True
        for topic, partition in self._at:
            began(topic, partition, world.log.end(topic, partition))
        self.wake()

    def wake(self) -> None:
        """There may be something to read."""
        if self._open and not self._busy:
            self._busy = True
            wait = self._world.network.arrival(self._name) - self._world.scheduler.now
            self._life.after(wait, "fetch", self._fetch)

    def _fetch(self) -> None:
        if not self._open:
            return
        chunks = [chunk for place in self._at if (chunk := self._look(*place)) is not None]
        if chunks:
            self._loop.create_task(self._hand_over(chunks))
        else:
            self._busy = False

    def _look(self, topic: str, partition: int) -> Chunk | None:
        log, place = self._world.log, (topic, partition)
        at, end = self._at[place], log.end(topic, partition)
        if at >= end and self._ended.get(place) == end:
            return None
        if log.holes(topic, partition, at):
            self._began(topic, partition, end)
        found = log.read(topic, partition, at, self._world.scheduler.between(1, FETCHED))
        self._at[place] = found[-1].offset + 1 if found else end
        at_end = not log.read(topic, partition, self._at[place], 1)
        if at_end:
            self._at[place] = self._ended[place] = end
        return Chunk(topic, partition, [_as_read(record) for record in found], at_end)

    async def _hand_over(self, chunks: list[Chunk]) -> None:
        await self._arrived(chunks)
        self._busy = False
        self.wake()

    def close(self) -> None:
        self._open = False


class SimulatedAsker:
    """`ports.Asker`."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    async def ends(self, places: Sequence[Place], seconds: float) -> dict[Place, int]:
        wait_ms = self._world.network.arrival(self._name) - self._world.scheduler.now
        await asyncio.sleep(min(wait_ms / 1000, seconds))
        if wait_ms > seconds * 1000:
            raise Unreachable("no answer") from TimeoutError()
        return {place: self._world.log.end(*place) for place in places}

    async def extents(self, places: Sequence[Place], seconds: float) -> dict[Place, Extent]:
        ends = await self.ends(places, seconds)
        return {place: Extent("", 0, ends[place]) for place in places}

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        await self.ends((), seconds)
        return {name: self._world.log.partitions(name) for name in names}

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        return self._world.retention_ms / 1000 or None


def _as_read(record: LogRecord) -> Record:
    return Record(record.offset, record.key or b"", record.value, record.headers, record.timestamp_ms)
