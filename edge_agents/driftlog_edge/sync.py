"""The replica's conversation with the cloud: what is sealed goes out, what comes in is applied; both survive anything.

The decisions are in the core (`Shipper`, `Puller`, `GroupAssembler`, `Connectivity`); this is the loop between them and Kafka. A batch
is sent only after the write that sealed it is in the store, and with it every command it carries: an op that the cloud has but
the device forgot would let the device use its dot again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from driftlog_edge import keys
from driftlog_edge.committer import Committer
from driftlog_edge.connectivity import Connection, Connectivity, Watchdog, backoff
from driftlog_edge.errors import EdgeError, Offline
from driftlog_edge.groups import GroupAssembler
from driftlog_edge.journal import Journal
from driftlog_edge.kafka_rim import Chunk, Feed, KafkaException, Shipping
from driftlog_edge.ports import Clock, Family, Sealed
from driftlog_edge.puller import Pulled, Puller
from driftlog_edge.shipper import Shipper
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import ContractError
from driftlog_schemas.partitioning import partition_of

log = structlog.get_logger()

TICK_SECONDS = 0.5


class Sync:
    """Ships and pulls for one agent, on its loop."""

    def __init__(
        self,
        contract: AppContract,
        scopes: Sequence[str],
        bootstrap: str,
        journal: Journal,
        committer: Committer,
        shipper: Shipper,
        puller: Puller,
        clock: Clock,
        moved: Callable[[Pulled], None],
        sync_before_send: bool,
    ) -> None:
        self._bootstrap = bootstrap
        self._journal = journal
        self._committer = committer
        self._shipper = shipper
        self._puller = puller
        self._clock = clock
        self._moved = moved
        self._sync_before_send = sync_before_send
        self.connectivity = Connectivity()
        self.watchdog = Watchdog()
        self.problem = ""
        """Why nothing moves, in words; empty when all is well."""
        self.skew_ms = 0
        self.synced_ms: dict[tuple[str, int], int] = {}
        """(state topic, partition) -> wall time when its end was last reached"""
        self._space_of: dict[str, tuple[str, str]] = {}
        self._places: list[tuple[str, int]] = []
        for name, space in contract.spaces.items():
            self._space_of[topics.state_topic(name)] = (name, "state")
            self._space_of[topics.receipts_topic(name)] = (name, "receipts")
            self._space_of[topics.conflicts_topic(name)] = (name, "conflicts")
            for partition in sorted({partition_of(scope, space.partitions) for scope in scopes}):
                self._places += [(topic, partition) for topic in self._space_of if self._space_of[topic][0] == name]
        self._assemblers: dict[tuple[str, int], GroupAssembler] = {}
        self._reached: set[tuple[str, int]] = set()
        """State partitions whose end was reached since we connected: no longer catching up."""
        self._shipping: Shipping | None = None
        self._feed: Feed | None = None
        self._pumping = False
        self._ticker: asyncio.Task[None] | None = None

    # -- life

    async def start(self) -> None:
        """Begin; a broker that is not there is no error."""
        self._ticker = asyncio.create_task(self._tick(), name="driftlog-sync")
        self._connect()

    async def close(self) -> None:
        """Give what is on its way a moment, then stop."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self._disconnect(flush_seconds=2.0 if self.connectivity.state is Connection.ONLINE else 0.0)

    async def force_offline(self, forced: bool) -> None:
        """Aeroplane mode, on or off."""
        if forced == self.connectivity.forced:
            return
        self.connectivity.force_offline(forced, self._clock.monotonic())
        if forced:
            await self._disconnect()
        else:
            self._connect()

    def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        positions = {place: self.position(*place) for place in self._places}
        self._assemblers = {place: GroupAssembler() for place in self._places}
        self._reached.clear()
        self._shipper.resume()
        self._shipping = Shipping(self._bootstrap, loop, self._delivered, self._trouble)
        self._feed = Feed(self._bootstrap, positions, loop, self._arrived, self._trouble)
        self.pump()

    async def _disconnect(self, flush_seconds: float = 0.0) -> None:
        shipping, feed = self._shipping, self._feed
        self._shipping = self._feed = None
        loop = asyncio.get_running_loop()
        if feed is not None:
            await loop.run_in_executor(None, feed.close)
        if shipping is not None:
            await loop.run_in_executor(None, shipping.close, flush_seconds)

    # -- out

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return self._shipper.idle

    def pump(self) -> None:
        """Send what waits, as far as the way is free."""
        if not self._pumping and self._shipping is not None:
            self._pumping = True
            asyncio.get_running_loop().create_task(self._pump())

    async def _pump(self) -> None:
        attempt = 0
        try:
            while self._shipping is not None:
                try:
                    found = self._shipper.next()
                    if found is None:
                        return
                    batch, writes = found
                    if writes:
                        await self._committer.commit(writes, sync=self._sync_before_send)
                    shipping = self._shipping
                    if shipping is None:
                        return
                    shipping.send(batch)
                    self.problem, attempt = "", 0
                except (ContractError, EdgeError, KafkaException, BufferError) as error:
                    # The registry is needed once for the first batch; until then the queue waits.
                    attempt += 1
                    self.problem = str(error)
                    log.warning("cannot ship yet", reason=self.problem)
                    self._shipper.resume()
                    await asyncio.sleep(backoff(attempt, random.random))
        finally:
            self._pumping = False

    def _delivered(self, batch: Sealed, error: str | None) -> None:
        now = self._clock.monotonic()
        if error is None:
            self._shipper.delivered(batch, now)
            self.connectivity.success(now)
            self.watchdog.moved(now)
            self.pump()
        elif self._shipping is not None:
            log.warning("a batch was not delivered", number=batch.number, error=error)
            self._trouble()
            self._shipper.resume()
            self.pump()

    # -- in

    async def _arrived(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            await self._apply(chunk)

    async def _apply(self, chunk: Chunk) -> None:
        now = self._clock.monotonic()
        self.connectivity.success(now)
        space, kind = self._space_of[chunk.topic]
        if chunk.records:
            if kind == "state":
                assembler = self._assemblers[chunk.topic, chunk.partition]
                behind = (chunk.topic, chunk.partition) not in self._reached
                ripe = [record for r in chunk.records for record in assembler.add(r, behind)]
                if ripe:
                    await self._commit(self._puller.states(space, chunk.topic, chunk.partition, ripe))
            elif kind == "receipts":
                await self._commit(self._puller.receipts(chunk.topic, chunk.partition, chunk.records))
            else:
                await self._commit(self._puller.conflicts(chunk.topic, chunk.partition, chunk.records))
        if chunk.at_end and kind == "state":
            self._reached.add((chunk.topic, chunk.partition))
            self.synced_ms[chunk.topic, chunk.partition] = self._clock.wall_ms()

    async def _commit(self, pulled: Pulled) -> None:
        done = self._committer.stage(pulled.writes, sync=False)
        self._puller.staged(pulled)
        await done
        now = self._clock.monotonic()
        for place in pulled.answered:
            self._shipper.answered(*place)
        if pulled.again:
            self._shipper.refused(pulled.again, now)
        if pulled.refused:
            self.problem = f"the cloud refuses this device's batches: {pulled.refused}"
            log.error("batch refused", code=pulled.refused)
        elif pulled.answered:
            self.problem = ""
        self.skew_ms = pulled.skew_ms or self.skew_ms
        self.watchdog.moved(now)
        self._moved(pulled)

    def position(self, topic: str, partition: int) -> int:
        """The next offset this replica will read."""
        return keys.unpack_number(self._journal.get(Family.META, keys.cursor_key(topic, partition)))

    async def caught_up(self, space: str, partition: int, seconds: float) -> Callable[[], bool]:
        """A test: has this replica applied what the state partition held when this was asked? Raises `Offline`."""
        feed = self._feed
        if feed is None or self.connectivity.state is Connection.OFFLINE:
            raise Offline("a strong read needs the cloud", "read with consistency=eventual, or connect the device")
        place = (topics.state_topic(space), partition)
        loop = asyncio.get_running_loop()
        try:
            end = (await loop.run_in_executor(None, feed.end_offsets, [place], seconds))[place]
        except KafkaException as error:
            raise Offline(f"the broker does not answer: {error.args[0]}", "read with consistency=eventual") from error
        return lambda: self.position(*place) >= end

    # -- time

    def _trouble(self) -> None:
        self.connectivity.failure(self._clock.monotonic())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            if self._shipper.tick(now):
                self.pump()
            waiting = not self._shipper.idle
            if self.connectivity.state is Connection.ONLINE and self.watchdog.stalled(int(waiting), now):
                log.error("the queue does not move; the client starts anew", problem=self.problem)
                self.watchdog.moved(now)
                await self._disconnect()
                self._connect()
