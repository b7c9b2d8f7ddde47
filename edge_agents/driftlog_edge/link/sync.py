"""The replica's conversation with the cloud: what is sealed goes out, what comes in is applied; both survive anything.

The decisions are in the core (`Shipper`, `Puller`, `GroupAssembler`, `Connectivity`, `Pulse`); this is the loop between them and a
route. It holds at most one connection. When something that came in could not be kept (a full disk, a registry that
does not answer), the connection is given up and begun anew at the replica's own cursors, after a while that grows.

What the conversation is about has files of its own: the way and its silence (`signal`), the cloud's ends (`ends`), what becomes of our batches
(`replies`), new lives (`renewing`), words to the fleet (`heart`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.rerun import Rerun
from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.intake import Intake
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.puller import Puller
from driftlog_edge.link.connectivity import Connection, Watchdog, backoff
from driftlog_edge.link.ends import Ends
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.heart import Heart
from driftlog_edge.link.key_change import KeyChange
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.places import Places
from driftlog_edge.link.proof import Proof
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.renewing import Renewing
from driftlog_edge.link.replies import Replies
from driftlog_edge.link.signal import Signal
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.link.tidying import Tidying
from driftlog_edge.outgoing.pump import Pump
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Asker, Chunk, Clock, Family, Feed, Route, Sealed, Shipping
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.errors import ContractError
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()

TICK_SECONDS = 0.5
BEGIN_ANEW_CAP_SECONDS = 10.0
FAREWELL_SECONDS = 2.0


class Lost(EdgeError):
    """A topic does not have what follows what was read of it."""

    code = "lost"


class Sync:
    """Ships and pulls for one agent, on its loop."""

    def __init__(
        self,
        contract: AppContract,
        scopes: Collection[str],
        route: Route,
        ids: SchemaIds,
        journal: Journal,
        committer: Committer,
        shipper: Shipper,
        puller: Puller,
        clock: Clock,
        moved: Callable[[Pulled], None],
        renewal: Renewal,
        again: Again,
        registry: RegistryLine,
        identities: KeyChange,
        versions: Versions,
        heartbeat: Callable[[], tuple[bytes, bytes]],
        wiped: Callable[[], None],
    ) -> None:
        self._route = route
        self._ids = ids
        self._journal = journal
        self._committer = committer
        self._shipper = shipper
        self._puller = puller
        self._clock = clock
        self._moved = moved
        self._wiped = wiped
        self._tasks = Tasks()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="driftlog-link")
        """For what blocks, each call with an end: nobody else's waiting keeps the link from closing."""
        self._shipping: Shipping | None = None
        self._feed: Feed | None = None
        self._asker: Asker | None = None
        self._intake: Intake | None = None
        self._asking: asyncio.Task[None] | None = None
        self._connection = 0
        self._changing = asyncio.Lock()
        self._closed = False
        self._trouble_in = ""
        """Why what came in could not be kept."""
        self._failures = 0
        self.unreadable = 0
        """Records that were passed over because nobody here can read them."""
        self.pump = Pump(shipper, committer, ids, lambda: self._shipping)
        self.watchdog = Watchdog()
        self.registry = registry
        self.identities = identities
        self.places = Places(contract, scopes, journal, registry=registry.followed)
        self.freshness = Freshness(self.places.states, journal, committer, clock)
        self.signal = Signal(clock, self.pump.hurry, lambda: self.problem)
        self.lookout = Lookout(self.places, puller.landmarks, self.freshness, committer, clock, lambda: self._asker)
        self.ends = Ends(self.places, self.lookout, self.freshness, self.signal, lambda: self._asker)
        self._tidying = Tidying(puller, committer, journal.durable, moved, self._threads)
        self.proof = Proof(
            puller.agreement,
            self.places,
            scopes,
            journal,
            committer,
            versions,
            clock,
            lambda: self._tasks.begin(self._reconnect()),
        )
        self._rerun = Rerun(again, committer, self._tasks, moved, self.pump.run)
        self.replies = Replies(shipper, self._rerun, journal, clock)
        self._heart = Heart(ids, heartbeat, lambda: self._shipping, self._threads)
        self.renewing = Renewing(
            renewal,
            committer,
            route,
            lambda: self._shipping,
            lambda: self._asker,
            self.places.position,
            identities.identity.device_id,
            self._threads,
            self._renewed,
        )

    @property
    def read_again(self) -> dict[str, Any]:
        """The partitions that are read again from their start, and how far that has come."""
        return self._puller.returns.status()

    def _returning(self) -> str:
        """Which partition is read again, in words."""
        for (space, partition), under_way in self._puller.returns.all().items():
            return f"{space}/{partition} is read again ({under_way.records} records so far): {under_way.why}"
        return ""

    @property
    def problem(self) -> str:
        """Why something does not move, in words; empty when all is well."""
        if self.signal.connectivity.forced:
            return ""  # asked for, and shown as such
        if self.signal.state is Connection.OFFLINE and self.signal.unreachable:
            return self.signal.unreachable
        now_ms = self.broker_ms()
        troubles = (
            self._trouble_in,
            self._returning(),
            self.proof.agreement.problem,
            self.registry.refusal(now_ms),
            self.replies.problem,
            self.renewing.problem,
            self.pump.problem,
            self.identities.problem,
            self.registry.warning(now_ms),
        )
        return next(filter(None, troubles), "")

    def broker_ms(self) -> int:
        """The broker's time, as far as it is known here."""
        return self._clock.wall_ms() - self.replies.skew_ms

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return self._shipper.idle

    # -- life

    async def start(self) -> None:
        """Begin; a broker that is not there is no error. Who was told to stay off the network stays off over a restart."""
        if self._journal.get(Family.META, keys.OFFLINE) is not None:
            self.signal.force_offline(True)
        self._tasks.begin(self._tick())
        self._tidying.run()
        self.proof.run()
        self.renewing.run()
        await self._reconnect()

    async def close(self) -> None:
        """Give what is on its way a moment, then stop."""
        self._closed = True
        await self._tasks.stop()
        await self.proof.stop()
        async with self._changing:
            await self._disconnect()
        await self.renewing.stop()
        await self.pump.stop()
        await self._tidying.stop()
        self._threads.shutdown(wait=False)
        self.freshness.keep()

    async def force_offline(self, forced: bool) -> None:
        """Aeroplane mode, on or off."""
        if forced == self.signal.connectivity.forced:
            return
        try:
            await self._committer.stage({(Family.META, keys.OFFLINE): b"" if forced else None})
        except EdgeError as error:
            log.warning("aeroplane mode will be as it was after a restart", reason=str(error))
        if forced:
            async with self._changing:
                await self._disconnect(forced=True)
        else:
            self.signal.force_offline(False)
            await self._reconnect()

    async def hold(
        self, scopes: Collection[str], again: Collection[tuple[str, int]], change: Callable[[], Awaitable[None]]
    ) -> None:
        """Follow other scopes: `change` writes down what that means while nothing comes in; `again` is read from its start."""
        async with self._changing:
            await self._disconnect()
            try:
                await change()
                self.places.hold(scopes)
                self.freshness.follow(self.places.states, again)
            finally:
                self._tasks.begin(self._reconnect())

    async def _reconnect(self) -> None:
        """A connection that begins at the replica's own cursors; none in aeroplane mode."""
        async with self._changing:
            await self._disconnect()
            if self.signal.connectivity.forced or self._closed:
                return
            loop = asyncio.get_running_loop()
            self._shipper.resume()
            self._connection += 1
            connection = self._connection
            self._shipping = self._route.ship(
                loop, lambda batch, error: self._delivered(batch, error, connection), self.signal.trouble
            )
            intake = self._intake = Intake(
                self.places.topics, self._puller, self._committer, self._ids, self._pulled, self.registry
            )

            self._asker = self._route.ask()
            self.signal.begun()
            self._asking = self._tasks.begin(self._look(intake))
            self.pump.hurry()
            self.renewing.run()

    async def _look(self, intake: Intake) -> None:
        """Ask what the broker has; what comes in is followed only from where that was found to lead on."""
        try:
            good = await self.ends.look(beginning=self._feed is None)
        except EdgeError as error:
            self._trouble_in = str(error)
            log.warning("what the broker has could not be written down", reason=self._trouble_in)
            return
        if intake is not self._intake or self._closed:
            return
        if good and self._feed is None:

            async def arrived(chunks: Sequence[Chunk]) -> None:
                await self._arrived(intake, chunks)

            loop = asyncio.get_running_loop()
            intake.follow(self.places.all)
            self._feed = self._route.follow(loop, self.places.positions(), arrived, self.signal.trouble)
        elif not good and self.signal.state is not Connection.OFFLINE:
            self._tasks.begin(self._reconnect())

    async def _disconnect(self, *, forced: bool = False) -> None:
        shipping, feed, intake = self._shipping, self._feed, self._intake
        online = self.signal.state is Connection.ONLINE
        if forced:
            self.signal.force_offline(True)
        self._shipping = self._feed = self._intake = self._asker = None
        loop = asyncio.get_running_loop()
        if intake is not None:
            intake.close()
        if feed is not None:
            await loop.run_in_executor(self._threads, feed.close)
        if shipping is not None:
            await loop.run_in_executor(self._threads, shipping.close, FAREWELL_SECONDS if online else 0.0)

    # -- out

    def _delivered(self, batch: Sealed, error: str | None, connection: int) -> None:
        now = self._clock.monotonic()
        if error is None:
            if batch.lsns:  # else it is a life's first batch, whose answer somebody else waits for
                self.replies.delivered(batch, now)
            self.signal.success()
            self.watchdog.moved(now)
            self.pump.run()
        elif self._shipping is not None and connection == self._connection:
            self.signal.trouble()
            self.replies.failed(batch, error)
            self.pump.run()

    def _renewed(self) -> None:
        self._moved(Pulled({}))
        self.pump.run()

    # -- in

    async def _arrived(self, intake: Intake, chunks: Sequence[Chunk]) -> None:
        if not intake.open:
            return  # given up; the next connection reads it again
        self.signal.success()
        kept = False
        try:
            for chunk in chunks:
                if chunk.lost:
                    raise Lost(f"{chunk.topic}[{chunk.partition}] does not have what follows what was read of it")
                if await intake.take(chunk):
                    if self.freshness.heard((chunk.topic, chunk.partition), self.freshness.now()):
                        self.lookout.hurry()
                    self.proof.in_step(chunk.topic, chunk.partition)
                    self._moved(Pulled({}))
            kept = True
            self._trouble_in, self._failures = "", 0
        except (EdgeError, ContractError) as error:
            self._trouble_in = str(error)
            log.warning("what came in could not be kept", reason=self._trouble_in)
        finally:  # a defect goes on up to where it is seen, but the replica is not left behind for ever
            if not kept and intake is self._intake:
                intake.close()
                self._failures += 1
                pause = min(BEGIN_ANEW_CAP_SECONDS, backoff(self._failures, random.random))
                self._tasks.begin(self._begin_anew(pause))

    async def _begin_anew(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._reconnect()

    def _pulled(self, pulled: Pulled) -> None:
        now = self._clock.monotonic()
        self.replies.pulled(pulled, now)
        if pulled.forked or pulled.answered:
            self.renewing.run()
        if pulled.anew:
            self._tidying.run()
        self.unreadable += pulled.unreadable
        self.watchdog.moved(now)
        self._moved(pulled)

    # -- time

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            if self.registry.wiped:
                self._wiped()
            self.identities.look(self.broker_ms())
            if self.registry.release_due(now):
                self._shipper.at_once(now)
            if self._shipper.tick(now):
                self.pump.run()
            self.freshness.tick(now)
            self._rerun.run()
            self.proof.tick()
            due = self.signal.quiet(now) or (self._feed is not None and self.lookout.due(now))
            if due and self._intake is not None and (self._asking is None or self._asking.done()):
                self._asking = self._tasks.begin(self._look(self._intake))
            if self._heart.due(now, self.signal.state):
                self._tasks.begin(self._heart.beat(now))
            waiting = self._shipper.waiting or not self._shipper.idle
            if self.signal.state is not Connection.ONLINE:
                self.watchdog.moved(now)  # what waits for a way does not stand still
            elif self.watchdog.stalled(int(waiting), now):
                log.error("the queue does not move; the client starts anew", problem=self.problem)
                self.watchdog.moved(now)
                await self._reconnect()
