"""The replica's conversation with the cloud: what is sealed goes out, what comes in is applied; both survive anything.

The decisions are in the core (`Shipper`, `Puller`, `GroupAssembler`, `Connectivity`, `Pulse`); this is the loop between them and the clients of the
connection (`clients`).

What the conversation is about has files of its own: the way and its silence (`signal`), the cloud's ends (`ends`), what becomes of our batches
(`replies`), new lives (`renewing`), words to the fleet (`heart`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import structlog

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.overdue import Overdue
from driftlog_edge.asking.rerun import Bring, Rerun
from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.puller import Puller
from driftlog_edge.link.absence import Absence
from driftlog_edge.link.catching_up import CatchingUp
from driftlog_edge.link.clients import Clients
from driftlog_edge.link.connectivity import Connection, Watchdog
from driftlog_edge.link.count_check import CountCheck
from driftlog_edge.link.ends import Ends
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.generation_route import GenerationRoute
from driftlog_edge.link.heart import Heart
from driftlog_edge.link.horizon import Horizon
from driftlog_edge.link.key_change import KeyChange
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.moving import Moving
from driftlog_edge.link.op_logs import OpLogs
from driftlog_edge.link.places import Places
from driftlog_edge.link.proof import Proof
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.renewing import Renewing
from driftlog_edge.link.replies import Replies
from driftlog_edge.link.signal import Signal
from driftlog_edge.link.support_watch import SupportWatch
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.link.tidying import Tidying
from driftlog_edge.outgoing.flow import Bucket
from driftlog_edge.outgoing.pump import Pump
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Clock, Family, Sealed, Shipping
from driftlog_edge.power.hook import Hook
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()

TICK_SECONDS = 0.5


class Sync:
    """Ships and pulls for one agent, on its loop."""

    def __init__(
        self,
        contract: AppContract,
        scopes: Collection[str],
        route: GenerationRoute,
        ids: SchemaIds,
        journal: Journal,
        committer: Committer,
        shipper: Shipper,
        puller: Puller,
        clock: Clock,
        moved: Callable[[], None],
        renewal: Renewal,
        again: Again,
        overdue: Overdue,
        registry: RegistryLine,
        identities: KeyChange,
        versions: Versions,
        power: Hook,
        incoming: Bucket,
        heartbeat: Callable[[], tuple[bytes, bytes]],
        wiped: Callable[[], None],
        room: Callable[[], Awaitable[None]],
        bring: Bring,
        follow: Callable[[], None],
    ) -> None:
        """`room` returns when the disk has room for what comes in; `bring` fetches what is evicted; `follow` opens the folder anew, where a space goes on
        elsewhere."""
        self._journal = journal
        self._committer = committer
        self._shipper = shipper
        self._puller = puller
        self._clock = clock
        self._moved = moved
        self._wiped = wiped
        self._route = route
        self.power = power
        self._tasks = Tasks()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="driftlog-link")
        """For what blocks, each call with an end: nobody else's waiting keeps the link from closing."""
        self.unreadable = 0
        """Records that were passed over because nobody here can read them."""
        self.pump = Pump(shipper, committer, ids, lambda: self._way_out)
        self.watchdog = Watchdog()
        self.registry = registry
        self.identities = identities
        self.places = Places(contract, scopes, journal, registry=registry.followed)
        self.counts = CountCheck(contract, self.places, journal, committer)
        self.freshness = Freshness(self.places.states, journal, committer, clock)
        self.signal = Signal(clock, self.pump.hurry, lambda: self.problem)
        op_logs = OpLogs(lambda: self.clients.asker)
        self.horizon = Horizon(self.places, self.freshness, journal, committer)
        self.support = SupportWatch(contract.version, journal, self.broker_ms)
        self.lookout = Lookout(
            self.places,
            puller.landmarks,
            self.freshness,
            committer,
            clock,
            lambda: self.clients.asker,
            op_logs,
            self.horizon,
        )
        self.catching_up = CatchingUp(self.places, self.lookout, self.freshness, puller.returns)
        self.absence = Absence(contract, self.places, self.freshness, shipper, overdue, committer, moved)
        self.ends = Ends(
            self.places,
            self.lookout,
            self.freshness,
            self.signal,
            lambda: self.clients.asker,
            self.absence.met,
            self.counts,
            lambda space: self.moving.moved(space),  # noqa: PLW0108  # it is made below
        )
        self.clients = Clients(
            route,
            ids,
            puller,
            committer,
            registry,
            op_logs,
            self.places,
            self.signal,
            incoming,
            self._tasks,
            self._threads,
            self,
            room,
        )
        self._tidying = Tidying(puller, committer, journal.durable, moved, self._threads)
        self.proof = Proof(
            puller.agreement,
            self.places,
            scopes,
            journal,
            committer,
            versions,
            clock,
            lambda: self._tasks.begin(self.clients.reconnect()),
        )
        self._rerun = Rerun(again, committer, self._tasks, moved, self.pump.run, bring)
        self.replies = Replies(shipper, self._rerun, journal, clock)
        self._heart = Heart(ids, heartbeat, lambda: self.clients.shipping, self._threads)
        self.renewing = Renewing(
            renewal,
            committer,
            route,
            lambda: self._way_out,
            lambda: self.clients.asker,
            self.places.position,
            identities.identity.device_id,
            self._threads,
            self._renewed,
            bring,
        )
        self.moving = Moving(
            contract,
            registry,
            self.places,
            renewal,
            shipper,
            journal,
            committer,
            lambda: self.clients.asker,
            self.clients.read_to,
            self.renewing.run,
            follow,
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
        if self._journal.refusal:
            return self._journal.refusal
        if self.signal.connectivity.forced:
            return ""  # asked for, and shown as such
        if self.signal.state is Connection.OFFLINE and self.signal.unreachable:
            return self.signal.unreachable
        now_ms = self.broker_ms()
        troubles = (
            self.clients.problem,
            self._returning(),
            self.proof.agreement.problem,
            self.registry.refusal(now_ms),
            self.moving.problem,
            self.moving.left_behind,
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
    def _way_out(self) -> Shipping | None:
        """By which batches leave, if they may."""
        return self.clients.shipping if self.counts.passed else None

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return self._shipper.idle

    # -- life

    async def start(self) -> None:
        """Begin; a broker that is not there is no error. Who was told to stay off the network stays off over a restart."""
        if self._journal.get(Family.META, keys.OFFLINE) is not None:
            self.signal.force_offline(True)
        self.power.start()
        self.moving.shut()  # from the first moment on
        self._tasks.begin(self._tick())
        self._tidying.run()
        self.proof.run()
        self.renewing.run()
        await self.clients.reconnect()

    def stay_away(self, why: str) -> None:
        """Instead of `start`: there is no way to the cloud, and will be none."""
        self.signal.silence(why)

    async def close(self) -> None:
        """Give what is on its way a moment, then stop."""
        self.clients.none_follows()
        await self._tasks.stop()
        await self.power.stop()
        await self.proof.stop()
        await self.clients.close()
        await self.moving.stop()
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
            async with self.clients.changing:
                await self.clients.disconnect(forced=True)
        else:
            self.signal.force_offline(False)
            await self.clients.reconnect()

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[None]:
        """Nothing comes in meanwhile; then it goes on with what is followed by then."""
        async with self.clients.changing:
            await self.clients.disconnect()
            try:
                yield
            finally:
                self._tasks.begin(self.clients.reconnect())

    def anew(self) -> None:
        """Begin another connection: what its clients were made with has changed."""
        self._tasks.begin(self.clients.reconnect())

    def follow(self, scopes: Collection[str], again: Collection[tuple[str, int]]) -> None:
        """Follow other scopes; partitions in `again` are read from their start. To be called while nothing comes in."""
        self.places.hold(scopes)
        self.freshness.follow(self.places.states, again)

    # -- out

    def begins(self) -> None:
        """What the connection before had, and the log is not known to have, goes out again."""
        self.absence.look(offline=False)
        self._shipper.resume()

    def begun(self) -> None:
        """Nothing sits out a pause that was meant for the connection before."""
        self.pump.hurry()
        self.renewing.run()
        self.moving.hurry()

    def delivered(self, batch: Sealed, error: str | None, *, gone: bool) -> None:
        """What became of a batch that was sent."""
        now = self._clock.monotonic()
        if error is None:
            if batch.lsns:  # else it is a life's first batch, whose answer somebody else waits for
                self.replies.delivered(batch, now)
            self.signal.success()
            self.watchdog.moved(now)
            self.pump.run()
        elif not gone:
            self.signal.trouble()
            self.replies.failed(batch, error)
            self.pump.run()

    def _renewed(self) -> None:
        self.moving.hurry()
        self._moved()
        self.pump.run()

    # -- in

    async def look(self, *, beginning: bool) -> bool:
        """What has the broker?"""
        waited = not self.counts.passed
        good = await self.ends.look(beginning=beginning)
        if waited and self.counts.passed:
            self.begun()
        return good

    def forgotten(self, place: tuple[str, int]) -> bool:
        """Does the topic not tell any more what was deleted since the replica had all of it?"""
        return self.lookout.forgotten(place)

    def in_step(self, topic: str, partition: int) -> None:
        """A partition of states was read to its end."""
        if self.moving.moved(self.places.described((topic, partition))[0]):
            self._moved()
            return  # the cloud has more, elsewhere
        if self.freshness.heard((topic, partition), self.freshness.now()):
            self.lookout.hurry()
        self.proof.in_step(topic, partition)
        self._moved()

    def stopped(self) -> None:
        """Nothing comes in until the next connection follows."""
        self.proof.agreement.stopped()

    def pulled(self, pulled: Pulled) -> None:
        """Something that came in is in the store."""
        now = self._clock.monotonic()
        self.replies.pulled(pulled, now)
        if any(answer.refused for answer in pulled.answered):
            self._heart.news()
        if pulled.answered:
            self.pump.run()  # what was not taken may go again
        if pulled.forked or pulled.answered:
            self.renewing.run()
        if pulled.anew:
            self._tidying.run()
        self.unreadable += pulled.unreadable
        if pulled.answered or self.renewing.due:  # what others write moves only what a new life waits to have read
            self.watchdog.moved(now)
        self._moved()

    def news(self) -> None:
        """What waits for a person has changed: the fleet is told soon."""
        self._heart.news()

    def generations(self) -> dict[str, dict[str, int]]:
        """What `/v1/status` says of the generations of each space's read model."""
        followed = self._route.followed
        return {
            space: {"followed": followed[space], "read": said.read, "merged": said.merged}
            for space, said in self.registry.generations.items()
        }

    # -- time

    async def _tick(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._look_after_all()
                told = ""
            except EdgeError as error:  # a store that cannot be read to its end, for instance; other things are still to be looked after
                if str(error) != told:
                    told = str(error)
                    log.error("not all could be looked after", reason=told)

    async def _look_after_all(self) -> None:
        now = self._clock.monotonic()
        if self.registry.wiped:
            self._wiped()
        self.identities.look(self.broker_ms())
        if self._route.outdated and not self.signal.connectivity.forced and not self.clients.changing.locked():
            log.info("another generation of the read model is in force")
            await self.clients.reconnect()
        if self.registry.release_due(now):
            self._shipper.at_once(now)
        if self.moving.tick():
            self.pump.run()
        self._shipper.allow(saving=self.power.saving, metered=self.power.now.metered is True)
        if self._shipper.tick(now):
            self.pump.run()
        self.freshness.tick(now)
        self.ends.tick()
        self.horizon.tick()
        self.support.tick()
        self.absence.look(offline=self.signal.state is Connection.OFFLINE)
        self._rerun.run()
        self.proof.tick()
        self.signal.tell()
        if self.signal.quiet(now) or (self.clients.follows and self.lookout.due(now)):
            self.clients.look()
        if self._heart.due(now, self.signal.state, saving=self.power.saving):
            self._tasks.begin(self._heart.beat(now))
        waiting = self._shipper.waiting or not self._shipper.idle
        # who waits for a way, his share of it, a review or a move does not stand still
        held_up = self._shipper.spent or self.absence.reviewing or bool(self.moving.problem)
        if self.signal.state is not Connection.ONLINE or held_up:
            self.watchdog.moved(now)
        elif self.watchdog.stalled(int(waiting), now):
            log.error("the queue does not move; the client starts anew", problem=self.problem)
            self.watchdog.moved(now)
            await self.clients.reconnect()
