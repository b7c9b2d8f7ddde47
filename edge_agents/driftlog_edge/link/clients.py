"""The clients of the connection to the cloud, one connection at a time: what is sent, what comes in, and who is asked.

A connection begins at the replica's own cursors, once the broker was asked whether they lead on. When something that came in could not be kept (a
full disk, a registry that does not answer), it is given up and begun anew, after a while that grows; and so is one whose clients cannot be made.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.intake import Intake
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.puller import Puller
from driftlog_edge.link.connectivity import Connection, backoff
from driftlog_edge.link.op_logs import OpLogs
from driftlog_edge.link.places import Places
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.signal import Signal
from driftlog_edge.link.tasks import Tasks
from driftlog_edge.link.vain_looks import VainLooks
from driftlog_edge.outgoing.flow import Bucket
from driftlog_edge.ports import Asker, Chunk, Feed, Route, Sealed, Shipping, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_schemas.errors import ContractError
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()

BEGIN_ANEW_CAP_SECONDS = 10.0
FAREWELL_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""How often it is seen, while a budget is overdrawn, whether there is another or the connection is over."""


class Lost(EdgeError):
    """A topic does not have what follows what was read of it."""

    code = "lost"


class Heard(Protocol):
    """Who hears of it."""

    def begins(self) -> None:
        """The connection before is gone, with what it had not delivered."""
        ...

    def begun(self) -> None:
        """There is a way to send."""
        ...

    async def look(self, *, beginning: bool) -> bool:
        """What has the broker? Can what comes in go on as it does? Raises `EdgeError`."""
        ...

    def delivered(self, batch: Sealed, error: str | None, *, gone: bool) -> None:
        """The log has it, or why not; `gone`: a connection that is over says so."""
        ...

    def pulled(self, pulled: Pulled) -> None:
        """It is in the store."""
        ...

    def forgotten(self, place: tuple[str, int]) -> bool:
        """Does the topic not tell any more what was deleted since the replica had all of it?"""
        ...

    def in_step(self, topic: str, partition: int) -> None:
        """The replica was at the end of a partition of states."""
        ...

    def stopped(self) -> None:
        """Nothing comes in until the next connection follows."""
        ...


class Clients:
    """Of one agent, on its loop."""

    def __init__(
        self,
        route: Route,
        ids: SchemaIds,
        puller: Puller,
        committer: Committer,
        registry: RegistryLine,
        op_logs: OpLogs,
        places: Places,
        signal: Signal,
        incoming: Bucket,
        tasks: Tasks,
        threads: ThreadPoolExecutor,
        heard: Heard,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        """`room` returns when the disk has room for what comes in."""
        self._route = route
        self._ids = ids
        self._puller = puller
        self._committer = committer
        self._registry = registry
        self._op_logs = op_logs
        self._places = places
        self._signal = signal
        self._incoming = incoming
        self._tasks = tasks
        self._threads = threads
        self._heard = heard
        self._room = room
        self.shipping: Shipping | None = None
        self.asker: Asker | None = None
        self._feed: Feed | None = None
        self._intake: Intake | None = None
        self._asking: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        """Makes a connection whose clients could not be made."""
        self._connection = 0
        self.changing = asyncio.Lock()
        """Held while the connection changes."""
        self._closed = False
        self._failures = 0
        self._vain = VainLooks()
        self.problem = ""
        """Why what came in could not be kept."""

    @property
    def follows(self) -> bool:
        """Does something come in?"""
        return self._feed is not None

    def read_to(self, place: tuple[str, int]) -> int:
        """See `Intake.read_to`; -1 without a connection."""
        return -1 if self._intake is None else self._intake.read_to(place)

    def none_follows(self) -> None:
        """There will be no other connection."""
        self._closed = True

    async def close(self) -> None:
        """The last connection ends."""
        async with self.changing:
            await self.disconnect()

    async def reconnect(self) -> None:
        """A connection that begins at the replica's own cursors; none in aeroplane mode."""
        async with self.changing:
            await self.disconnect()
            if self._signal.connectivity.forced or self._closed:
                return
            self._heard.begins()
            self._connection += 1
            try:
                self._connect(self._connection)
            except Unreachable as error:
                await self.disconnect()
                self._signal.silence(str(error))
                if self._trying is None or self._trying.done():
                    self._trying = self._tasks.begin(self._try_again())

    def _connect(self, connection: int) -> None:
        """Make the clients. Raises `Unreachable`."""
        self.shipping = self._route.ship(
            asyncio.get_running_loop(),
            lambda batch, error: self._delivered(batch, error, connection),
            self._signal.trouble,
        )
        asker = self._route.ask()
        intake = self._intake = Intake(
            self._places.topics,
            self._puller,
            self._committer,
            self._ids,
            self._heard.pulled,
            self._registry,
            self._op_logs,
        )
        self.asker = asker
        self._signal.begun()
        self._asking = self._tasks.begin(self._look(intake))
        self._heard.begun()

    async def _try_again(self) -> None:
        """Until there is a connection, or is to be none."""
        attempt = 0
        while self.shipping is None and not (self._signal.connectivity.forced or self._closed):
            attempt += 1
            await asyncio.sleep(min(BEGIN_ANEW_CAP_SECONDS, backoff(attempt, random.random)))
            if self.shipping is None:
                await self.reconnect()

    async def _look(self, intake: Intake) -> None:
        """Ask what the broker has; what comes in is followed only from where that was found to lead on."""
        offline = self._signal.state is Connection.OFFLINE
        try:
            good = await self._heard.look(beginning=self._feed is None)
        except EdgeError as error:
            self.problem = str(error)
            log.warning("what the broker has could not be written down", reason=self.problem)
            return
        if intake is not self._intake or self._closed:
            return
        if good and self._feed is None:

            async def arrived(chunks: Sequence[Chunk]) -> None:
                await self._arrived(intake, chunks)

            loop = asyncio.get_running_loop()
            intake.follow(self._places.all)
            try:
                self._feed = self._route.follow(loop, self._places.positions(), arrived, self._signal.trouble)
            except Unreachable as error:  # the next look tries again
                self.problem = str(error)
                log.warning("what the cloud has cannot be read", reason=self.problem)
        elif good and self._vain.answered(offline=offline):
            log.warning("the broker answers, and nothing gets through; the clients are made anew")
            self._tasks.begin(self.reconnect())
        elif not good and self._signal.state is not Connection.OFFLINE:
            self._tasks.begin(self.reconnect())

    async def disconnect(self, *, forced: bool = False) -> None:
        """To be called while it is `changing`."""
        shipping, feed, intake = self.shipping, self._feed, self._intake
        online = self._signal.state is Connection.ONLINE
        if forced:
            self._signal.force_offline(True)
        self.shipping = self._feed = self._intake = self.asker = None
        loop = asyncio.get_running_loop()
        if intake is not None:
            intake.close()
            self._heard.stopped()
        if feed is not None:
            await loop.run_in_executor(self._threads, feed.close)
        if shipping is not None:
            await loop.run_in_executor(self._threads, shipping.close, FAREWELL_SECONDS if online else 0.0)
        if forced:
            self._route.rest()

    def look(self) -> None:
        """Ask what the broker has, unless that is under way."""
        if self._intake is not None and (self._asking is None or self._asking.done()):
            self._asking = self._tasks.begin(self._look(self._intake))

    def _delivered(self, batch: Sealed, error: str | None, connection: int) -> None:
        if error is None:
            self._vain.through()
        self._heard.delivered(batch, error, gone=self.shipping is None or connection != self._connection)

    async def _arrived(self, intake: Intake, chunks: Sequence[Chunk]) -> None:
        if not intake.open:
            return  # given up; the next connection reads it again
        self._signal.success()
        self._vain.through()
        kept = False
        try:
            for chunk in chunks:
                if chunk.lost:
                    raise Lost(f"{chunk.topic}[{chunk.partition}] does not have what follows what was read of it")
                if chunk.records:
                    if self._heard.forgotten((chunk.topic, chunk.partition)):
                        raise Lost(
                            f"{chunk.topic}[{chunk.partition}] has forgotten what was deleted while this device was away"
                        )
                    await self._room()
                if await intake.take(chunk):
                    self._heard.in_step(chunk.topic, chunk.partition)
            kept = True
            self.problem, self._failures = "", 0
            self._incoming.spend(sum(len(record.value or b"") for chunk in chunks for record in chunk.records))
            while intake.open and (pause := self._incoming.pause()):  # noqa: ASYNC110  # the next look waits until this is done
                await asyncio.sleep(min(pause, LOOK_SECONDS))
        except (EdgeError, ContractError, Unreachable) as error:
            self.problem = str(error)
            log.warning("what came in could not be kept", reason=self.problem)
        finally:  # a defect goes on up to where it is seen, but the replica is not left behind for ever
            if not kept and intake is self._intake:
                intake.close()
                self._heard.stopped()
                self._failures += 1
                pause = min(BEGIN_ANEW_CAP_SECONDS, backoff(self._failures, random.random))
                self._tasks.begin(self._begin_anew(pause))

    async def _begin_anew(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.reconnect()
