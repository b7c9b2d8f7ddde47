"""The replica's conversation with the cloud: what is sealed goes out, what comes in is applied; both survive anything.

The decisions are in the core (`Shipper`, `Puller`, `GroupAssembler`, `Connectivity`, `Pulse`); this is the loop between them and a
route. It holds at most one connection. When something that came in could not be kept (a full disk, a registry that
does not answer), the connection is given up and begun anew at the replica's own cursors, after a while that grows.

The clients speak only when something happens. So a quiet link is asked now and then where the state topics end: the answer tells that
there is a way, and from when on the replica is known to be in step.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from driftlog_edge.asking.again import Again
from driftlog_edge.errors import EdgeError, Offline, TimedOut
from driftlog_edge.incoming.intake import Intake, Kind
from driftlog_edge.incoming.puller import Pulled, Puller
from driftlog_edge.incoming.verdicts import Answered
from driftlog_edge.link.connectivity import Connection, Connectivity, Watchdog, backoff
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.heartbeats import Pulse
from driftlog_edge.link.renewing import Renewing
from driftlog_edge.outgoing.pump import Pump
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Asker, Chunk, Clock, Family, Feed, Route, Sealed, Shipping, Unreachable
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status, entry_of
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.journal import Journal
from driftlog_schemas import avro_files, topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()

TICK_SECONDS = 0.5
AGAIN_AT_ONCE = 50
PROBE_SECONDS = 15.0
"""How long a link that works may be quiet before it is asked."""
PROBE_SOON_SECONDS = 1.0
PROBE_CAP_SECONDS = 5.0
"""How long a broker may be back before it is noticed."""
BEGIN_ANEW_CAP_SECONDS = 10.0
UNANSWERED_SECONDS = 30.0
"""How long a batch may lie in the log without an answer before somebody is told to look for the workers."""
PROBE_TIMEOUT_SECONDS = 3.0
FAREWELL_SECONDS = 2.0


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
        device_id: str,
        heartbeat: Callable[[], tuple[bytes, bytes]],
    ) -> None:
        self._route = route
        self._ids = ids
        self._journal = journal
        self._committer = committer
        self._shipper = shipper
        self._puller = puller
        self._clock = clock
        self._moved = moved
        self._again = again
        self._running_again = False
        self._heartbeat = heartbeat
        self.connectivity = Connectivity()
        self._told = self.connectivity.state
        self.watchdog = Watchdog()
        self.pump = Pump(shipper, committer, ids, lambda: self._shipping)
        self._pulse = Pulse()
        self._heartbeat_known = False
        self._trouble_in = ""
        self._unreachable = ""
        """What the broker last said instead of an answer; empty while it answers."""
        self._unanswered_since: float | None = None
        """Since when the log has batches of ours that nobody answers."""
        self._foreign = ""
        """Which topic is not the one that was read."""
        self._refusal = ""
        """Why the cloud does not believe this device's batches."""
        self.unreadable = 0
        """Records that were passed over because nobody here can read them."""
        self.skew_ms = 0
        self._topics: dict[str, tuple[str, Kind]] = {}
        self._contract = contract
        for name in contract.spaces:
            self._topics[topics.state_topic(name)] = (name, "state")
            self._topics[topics.receipts_topic(name)] = (name, "receipts")
            self._topics[topics.conflicts_topic(name)] = (name, "conflicts")
        self._places: list[tuple[str, int]] = []
        self._state_places: list[tuple[str, int]] = []
        self._subscribe(scopes)
        self.freshness = Freshness(self._state_places, journal, committer, clock)
        self._connection = 0
        self._shipping: Shipping | None = None
        self._feed: Feed | None = None
        self._asker: Asker | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="driftlog-link")
        """For what blocks, each call with an end: nobody else's waiting keeps the link from closing."""
        self.renewing = Renewing(
            renewal,
            committer,
            route,
            lambda: self._asker,
            self.position,
            device_id,
            self._threads,
            self._renewed,
        )
        self._intake: Intake | None = None
        self._changing = asyncio.Lock()
        self._failures = 0
        self._probe_at = 0.0
        self._probes_failed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def problem(self) -> str:
        """Why something does not move, in words; empty when all is well."""
        if self.connectivity.forced:
            return ""  # asked for, and shown as such
        if self.connectivity.state is Connection.OFFLINE and self._unreachable:
            return self._unreachable
        return (
            self._trouble_in
            or self._foreign
            or self._refusal
            or self.renewing.problem
            or self.pump.problem
            or self._unanswered()
        )

    def _unanswered(self) -> str:
        since = self._unanswered_since
        if since is None or self._clock.monotonic() - since < UNANSWERED_SECONDS:
            return ""
        return "what was sent is not answered: is a worker running? (`driftlog worker`)"

    @property
    def idle(self) -> bool:
        """Is nothing on its way to the log?"""
        return self._shipper.idle

    # -- life

    async def start(self) -> None:
        """Begin; a broker that is not there is no error. Who was told to stay off the network stays off over a restart."""
        if self._journal.get(Family.META, keys.OFFLINE) is not None:
            self.connectivity.force_offline(True, self._clock.monotonic())
        self._begin(self._tick())
        await self._reconnect()

    async def close(self) -> None:
        """Give what is on its way a moment, then stop."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._changing:
            await self._disconnect()
        await self.renewing.stop()
        await self.pump.stop()
        self._threads.shutdown(wait=False)
        self.freshness.keep()

    async def force_offline(self, forced: bool) -> None:
        """Aeroplane mode, on or off."""
        if forced == self.connectivity.forced:
            return
        try:
            await self._committer.stage({(Family.META, keys.OFFLINE): b"" if forced else None})
        except EdgeError as error:
            log.warning("aeroplane mode will be as it was after a restart", reason=str(error))
        if forced:
            async with self._changing:
                await self._disconnect(forced=True)
        else:
            self.connectivity.force_offline(False, self._clock.monotonic())
            await self._reconnect()

    def _subscribe(self, scopes: Collection[str]) -> None:
        self._places = [
            (topic, partition)
            for topic, (space, _) in self._topics.items()
            for partition in sorted({partition_of(s, self._contract.spaces[space].partitions) for s in scopes})
        ]
        self._state_places = [place for place in self._places if self._topics[place[0]][1] == "state"]

    async def hold(
        self, scopes: Collection[str], again: Collection[tuple[str, int]], change: Callable[[], Awaitable[None]]
    ) -> None:
        """Follow other scopes: `change` writes down what that means while nothing comes in; `again` is read from its start."""
        async with self._changing:
            await self._disconnect()
            try:
                await change()
                self._subscribe(scopes)
                self.freshness.follow(self._state_places, again)
            finally:
                self._begin(self._reconnect())

    async def _reconnect(self) -> None:
        """A connection that begins at the replica's own cursors; none in aeroplane mode."""
        async with self._changing:
            await self._disconnect()
            if self.connectivity.forced or self._closed:
                return
            loop = asyncio.get_running_loop()
            self._shipper.resume()
            self._connection += 1
            connection = self._connection
            self._shipping = self._route.ship(
                loop, lambda batch, error: self._delivered(batch, error, connection), self._trouble
            )
            intake = self._intake = Intake(self._topics, self._puller, self._committer, self._ids, self._pulled)

            async def arrived(chunks: Sequence[Chunk]) -> None:
                await self._arrived(intake, chunks)

            positions = {place: self.position(*place) for place in self._places}
            self._feed = self._route.follow(loop, positions, arrived, self._trouble)
            self._asker = self._route.ask()
            self._probe_at = self._clock.monotonic() + PROBE_SOON_SECONDS
            self.pump.hurry()
            self.renewing.run()

    async def _disconnect(self, *, forced: bool = False) -> None:
        shipping, feed, intake = self._shipping, self._feed, self._intake
        online = self.connectivity.state is Connection.ONLINE
        if forced:
            self.connectivity.force_offline(True, self._clock.monotonic())
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
            self._shipper.delivered(batch, now)
            if self._unanswered_since is None:
                self._unanswered_since = now
            self._success()
            self.watchdog.moved(now)
            self.pump.run()
        elif self._shipping is not None and connection == self._connection:
            log.warning("a batch was not delivered", number=batch.number, error=error)
            self._trouble()
            self._shipper.failed(batch)
            self.pump.run()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._pulse.sent(self._clock.monotonic())
        try:
            if not self._heartbeat_known:  # the registry is needed once, and it may be slow
                await loop.run_in_executor(self._threads, self._ids.id_of, avro_files.text("heartbeat"))
                self._heartbeat_known = True
            if self._shipping is None:
                self._pulse.gone()
                return
            key, value = self._heartbeat()
            self._shipping.tell(topics.HEARTBEATS, key, value, self._pulse.gone)
        except (ContractError, Unreachable) as error:  # the next one is due in half a minute
            log.info("no heartbeat", reason=str(error))
            self._pulse.gone()

    # -- in

    async def _arrived(self, intake: Intake, chunks: Sequence[Chunk]) -> None:
        if not intake.open:
            return  # given up; the next connection reads it again
        self._success()
        kept = False
        try:
            for chunk in chunks:
                if await intake.take(chunk):
                    self.freshness.in_step((chunk.topic, chunk.partition), self.freshness.now())
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
                self._begin(self._begin_anew(pause))

    async def _begin_anew(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._reconnect()

    def _pulled(self, pulled: Pulled) -> None:
        now = self._clock.monotonic()
        for answer in pulled.answered:
            self._answered(answer, now)
        for space, partition, notice in pulled.refused:
            if self._shipper.refused(space, partition, now):  # else it is an old one, or a forger's
                self._refusal = f"the cloud refuses this device's batches: {notice.code}: {notice.reason}"
                log.error("batch refused", code=notice.code, reason=notice.reason)
        if pulled.forked or any(answer.forked for answer in pulled.answered):
            self.renewing.run()
        self.unreadable += pulled.unreadable
        self.skew_ms = pulled.skew_ms or self.skew_ms
        self.watchdog.moved(now)
        self._moved(pulled)

    def _answered(self, answer: Answered, now: float) -> None:
        for place in answer.closed:
            self._shipper.answered(place)
        if answer.closed:
            self._refusal = ""
            self._unanswered_since = None if self._shipper.settled else now
        if answer.refused:
            self._tell_rejected(answer.settled)
        self._shipper.early(answer.early, now)
        if answer.deferred:
            self._shipper.deferred(answer.space, answer.partition, now)
        if answer.refused:
            taken = self._again.take_back(answer.space, answer.partition, answer.refused)
            if taken:
                self._committer.stage(taken, sync=True)
        self._run_again()

    def _run_again(self) -> None:
        if not self._running_again and self._again.marked():
            self._running_again = True
            self._begin(self._all_again())

    async def _all_again(self) -> None:
        """What was built on a refused change runs on the corrected view; a few at a time, for others wait for the loop too."""
        try:
            while self._again.marked():
                done = None
                for _ in range(AGAIN_AT_ONCE):
                    executed = self._again.next()
                    if executed is None or executed.writes is None:
                        break
                    done = self._committer.stage(executed.writes, sync=True)
                    self._moved(Pulled({}, tuple(parse_document_key(key) for key in executed.touched)))
                if done is not None:
                    await done
        except EdgeError as error:  # a full outbox or disk: it stays marked, and the next look tries again
            log.warning("what must run again waits", reason=str(error))
        finally:
            self._running_again = False
            self.pump.run()

    def _tell_rejected(self, command_ids: Iterable[str]) -> None:
        for command_id in command_ids:
            entry = entry_of(self._journal.durable, command_id)
            if entry is not None and entry.status is Status.REJECTED:
                log.warning("command rejected", command_id=command_id, code=entry.code, reason=entry.reason)

    def _renewed(self) -> None:
        self._moved(Pulled({}))
        self.pump.run()

    def position(self, topic: str, partition: int) -> int:
        """The next offset this replica will read."""
        return keys.unpack_number(self._journal.get(Family.META, keys.cursor_key(topic, partition)))

    def applied(self) -> dict[str, int]:
        """`space/partition` -> offset of the state topic up to which this replica has applied it."""
        return {f"{self._topics[topic][0]}/{at}": self.position(topic, at) for topic, at in self._state_places}

    def require_cloud(self) -> None:
        """Raise `Offline` when there is no way to the cloud."""
        if self._asker is None or self.connectivity.state is Connection.OFFLINE:
            raise Offline("this answer needs the cloud, and there is no way to it", "read with consistency=eventual")

    async def caught_up(self, place: tuple[str, int], seconds: float) -> Callable[[], bool]:
        """A test: has this replica applied what the state partition held when this was asked?

        Raises:
            Offline: there is no way to the cloud, or the broker says no.
            TimedOut: the broker says nothing.
        """
        self.require_cloud()
        asker = self._asker
        assert asker is not None, "it was there a line above"
        try:
            end = (await asker.ends([place], seconds))[place]
        except Unreachable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise TimedOut(str(error), "ask again later, or read with consistency=eventual") from error
            raise Offline(str(error), "read with consistency=eventual") from error
        if end < self.position(*place):
            raise Offline(self._made_anew(place, end), "this replica cannot answer for that topic; see its status")
        return lambda: self._shows(place, end)

    def _made_anew(self, place: tuple[str, int], end: int) -> str:
        return f"{place[0]}[{place[1]}] ends at {end}, before what was read of it: it was made anew"

    def _shows(self, place: tuple[str, int], end: int) -> bool:
        """Do readers see all of a partition up to there?"""
        return keys.unpack_number(self._journal.durable.get(Family.META, keys.cursor_key(*place))) >= end

    # -- time

    def _success(self) -> None:
        now = self._clock.monotonic()
        self._unreachable = ""
        if self.connectivity.state is Connection.OFFLINE:  # back: nothing sits out a pause that was meant for an outage
            self.pump.hurry()
        self.connectivity.success(now)
        self._tell_connection()
        settled = self.connectivity.state is Connection.ONLINE
        self._probe_at = now + (PROBE_SECONDS if settled else PROBE_SOON_SECONDS)
        self._probes_failed = 0

    def _tell_connection(self) -> None:
        if self.connectivity.state is not self._told:
            self._told = self.connectivity.state
            log.info("connection", state=self._told.value, problem=self.problem or None)

    def _trouble(self) -> None:
        now = self._clock.monotonic()
        self.connectivity.failure(now)
        self._tell_connection()
        self._probe_at = min(self._probe_at, now + PROBE_SOON_SECONDS)

    async def _probe(self) -> None:
        asker = self._asker
        if asker is None:
            return
        asked = self.freshness.now()
        try:
            ends = await asker.ends(self._state_places, PROBE_TIMEOUT_SECONDS)
        except Unreachable as error:
            if asker is self._asker:
                self._unreachable = str(error)
                self._probes_failed += 1
                self._trouble()
                pause = backoff(self._probes_failed, random.random, PROBE_SOON_SECONDS)
                self._probe_at = self._clock.monotonic() + min(PROBE_CAP_SECONDS, PROBE_SOON_SECONDS + pause)
            return
        if asker is not self._asker:
            return
        self._success()
        gone = [place for place, end in ends.items() if end < self.position(*place)]
        self._foreign = self._made_anew(gone[0], ends[gone[0]]) if gone else ""
        for place, end in ends.items():
            if place not in gone and self._shows(place, end):
                self.freshness.in_step(place, asked)

    async def _tick(self) -> None:
        probe: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            if self._shipper.tick(now):
                self.pump.run()
            self.freshness.tick(now)
            self._run_again()
            if now >= self._probe_at and self._feed is not None and (probe is None or probe.done()):
                probe = self._begin(self._probe())
            if self._pulse.due(now, self.connectivity.state):
                self._begin(self._beat())
            waiting = self._shipper.waiting or not self._shipper.idle
            if self.connectivity.state is not Connection.ONLINE:
                self.watchdog.moved(now)  # what waits for a way does not stand still
            elif self.watchdog.stalled(int(waiting), now):
                log.error("the queue does not move; the client starts anew", problem=self.problem)
                self.watchdog.moved(now)
                await self._reconnect()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
