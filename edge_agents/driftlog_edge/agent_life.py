"""The life of an agent: how it is opened and closed, when it keeps off the network, and how it ends for good where its operator says so.

What a caller asks of it while it lives is in `agent`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from driftlog_edge.asking.answers import DEFAULT_TIMEOUT
from driftlog_edge.asking.lasting import Lasting
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.watch import Watchers
from driftlog_edge.assembly import assemble
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError, NotReady, StoreDamaged, StoreFailed
from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.link.refetch import Refetch
from driftlog_edge.link.sync import Sync
from driftlog_edge.opening import carried
from driftlog_edge.opening_anew import OpeningAnew
from driftlog_edge.ports import Clock, Route
from driftlog_edge.power.reading import Power
from driftlog_edge.standing_in import Absent
from driftlog_edge.store.budget import DiskBudget
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.housekeeping import Housekeeping
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.rotation import Rotation
from driftlog_edge.store.wrapping import wrapping_keys
from driftlog_edge.system_clock import SystemClock
from driftlog_edge.wiping.wiper import Wiper
from driftlog_schemas.contract import AppContract, Declared
from driftlog_schemas.messages import Conflict
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity

log = structlog.get_logger()


class AgentLife:
    """One device's replica, open while it is entered. `route`, `ids` and `clock` stand in for Kafka, the registry and the device's clock."""

    def __init__(
        self,
        app: Declared | AppContract,
        config: EdgeConfig,
        *,
        route: Route | None = None,
        ids: SchemaIds | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.contract = app if isinstance(app, AppContract) else app.contract
        self.present = self.contract
        """The same with its spaces as the folder has them: one that was given another number of partitions is called otherwise on the wire."""
        self.config = config
        self._route = route or KafkaRoute(config.kafka, lambda: self.config.link.bytes_per_second)
        self._ids = ids
        self._clock = clock or SystemClock()
        self._progress = Progress()
        self._lasting = Lasting()
        self._wiper = Wiper(config, self._route, ids)
        self._wiping: asyncio.Task[None] | None = None
        self._paying: asyncio.Task[None] | None = None
        """Sends what earlier replicas of the folder had to say."""
        self._anew = OpeningAnew(self._progress, self._leave, self._come, self._start)
        self._power: tuple[Power, float] | None = None
        """What was told of power last, and when by the monotonic clock."""
        self._on_conflict: list[Callable[[Conflict], None]] = []

    # -- life

    async def __aenter__(self) -> Self:
        """Raises `IdentityProblem`, `StoreBusy`, `StoreFailed`, `KeyUnusable`, `OtherPartitions`; a cloud that is not there is no error.

        A store that is damaged is served as far as it can be read, and keeps off the network: what it would say there rests on what is lost. A replica that was to be wiped is no error either: that goes on, and every answer is `Wiped`.
        """
        if self._wiper.take_up():
            self._erase()
            self._wiping = asyncio.create_task(self._wiper.run())
            return self
        self._anew.entered()
        await self._open()
        await self._start()
        if self._store.damage is None:
            self._paying = asyncio.create_task(self._wiper.pay())
        return self

    async def _open(self) -> None:
        """From here on it answers. Raises as `__aenter__`; then the folder is free."""
        wrapping = await wrapping_keys(self.config)
        parts = assemble(
            self.contract,
            self.config,
            self._route,
            self._ids,
            self._clock,
            self._progress,
            self._durable,
            self._ordered_away,
            self._anew.begin,
            wrapping,
        )
        self.present = parts.contract
        self._identities, self.log = parts.identities, parts.log
        self._store, self._committer, self._views = parts.store, parts.committer, parts.views
        self._committer.before_sync = self._before_sync
        self.watchers = Watchers(parts.changes)
        self._executor, self._again, self._submission = parts.executor, parts.again, parts.submission
        self._deferred, self._rejections = parts.deferred, parts.rejections
        self._conflicts, self._reader, self._vitals = parts.conflicts, parts.reader, parts.vitals
        if self._power is not None:
            parts.sync.power.tell(*self._power)
        for told in self._on_conflict:
            self._conflicts.on_pulled(told)
        self._sync, self._holdings, self._scope_change = parts.sync, parts.holdings, parts.scope_change
        self._housekeeping, self._rotation = parts.housekeeping, parts.rotation
        self._settings = parts.settings
        self._budget, self._refetch = parts.budget, parts.refetch
        self._anew.opened()
        log.info("agent runs", app=self.contract.name, device=self.identity.device_id, scopes=list(self._holdings))

    async def _start(self) -> None:
        """From here on it has to do with the cloud."""
        if self._store.damage is not None:
            log.error(
                "the store is damaged and only read", reason=self._store.refusal, remedy=self._store.damage.remedy
            )
            self._sync.stay_away(self._store.refusal)
            return
        if self._store.refusal:
            log.warning("the store takes no writes", reason=self._store.refusal)
        await self._sync.start()
        self._housekeeping.start()
        self._budget.start()
        self._rotation.start()

    @property
    def identity(self) -> Identity:
        """The device, and the key that it signs with now."""
        return self._identities.identity

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.wait([self._paying])
        if self._wiping is not None:
            self._wiping.cancel()  # what is left of it the next start does
            await asyncio.wait([self._wiping])
            return
        log.info("agent ends", device=self.identity.device_id)
        await self._anew.ended()
        if not self._anew.away:
            await self._shut(*self._running())

    def _running(self) -> tuple[Watchers, Housekeeping, Rotation, DiskBudget, Refetch, Sync, Committer, RocksStore]:
        """What is to be shut, as `_shut` takes it."""
        return (
            self.watchers,
            self._housekeeping,
            self._rotation,
            self._budget,
            self._refetch,
            self._sync,
            self._committer,
            self._store,
        )

    async def _shut(
        self,
        watchers: Watchers,
        housekeeping: Housekeeping,
        rotation: Rotation,
        budget: DiskBudget,
        refetch: Refetch,
        sync: Sync,
        committer: Committer,
        store: RocksStore,
        why: EdgeError | None = None,
    ) -> None:
        """`why` is what who is not answered yet is told; None where nobody should be left."""
        watchers.close()
        await self._lasting.stop()
        await rotation.stop()
        await housekeeping.stop()
        await budget.stop()
        refetch.close()
        await sync.close()
        if why is not None:
            committer.end(why)
        await committer.drained()
        committer.close()
        store.close(why)

    # -- a space goes on elsewhere

    async def _leave(self, reason: Callable[[], EdgeError]) -> None:
        parts = self._running()
        self._stand_in(Absent(reason))
        await self._shut(*parts, reason())

    async def _come(self) -> bool:
        before = self.present
        wrapping = await wrapping_keys(self.config)
        carrying = partial(carried, self.contract, self.config, self._clock, wrapping)
        await asyncio.get_running_loop().run_in_executor(None, carrying)
        await self._open()
        return self.present != before

    # -- the end of it

    async def wiped(self) -> None:
        """Return when this replica was erased because its operator said so, and the cloud knows."""
        await self._wiper.over()

    @property
    def gone(self) -> bool:
        """Is this replica wiped, or being wiped?"""
        return self._wiper.ordered

    def require_there(self) -> None:
        """Raise `Wiped` if there is nothing to answer from."""
        self._wiper.require_none()

    @property
    def damage(self) -> StoreDamaged | None:
        """Why the store is only read, if its files are damaged."""
        return None if self._wiper.ordered or self._anew.away else self._store.damage

    def ready(self) -> None:
        """Raise `Wiped`, or `NotReady` if writes are refused or the replica was never in step."""
        self.require_there()
        if why := self._vitals.unready(self._sync):
            raise NotReady(why, "see the agent's status")

    def _ordered_away(self) -> None:
        """The device registry says that this folder is to be erased."""
        if self._wiper.ordered:
            return
        device = self._sync.registry.device
        assert device is not None, "it was said by its line"
        try:
            self._wiper.order(self._vitals.farewell(self.identity, device.version))
        except StoreFailed as error:  # nothing has begun; the next look tries again
            log.error("this replica cannot be wiped yet", reason=str(error))
            return
        parts = self._running()
        self._rotation.forbid()
        if self._paying is not None:
            self._paying.cancel()  # the wipe sends it
        self._erase()
        self._wiping = asyncio.create_task(self._wiper.run(lambda: self._shut(*parts)))

    def _erase(self) -> None:
        """Nothing is answered any more."""
        self._stand_in(Absent(self._wiper.reason))

    def _stand_in(self, gone: Any) -> None:
        """In the place of every part that is asked."""
        self.log = self._store = self._committer = self._views = self._executor = self._again = self._deferred = gone
        self._rejections = gone
        self._submission = self._conflicts = self._reader = self._vitals = gone
        self._sync = self._holdings = self._scope_change = self._housekeeping = self._rotation = gone
        self._settings = self._budget = self._refetch = self.watchers = gone

    async def offline(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Stay off the network until `online`. Raises `TimedOut`: it goes on unless it says that nothing has changed."""
        await self._lasting.run("aeroplane mode", partial(self._sync.force_offline, True), seconds)

    async def online(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Use the network again. Raises `TimedOut`: as above."""
        await self._lasting.run("the end of aeroplane mode", partial(self._sync.force_offline, False), seconds)

    # -- what follows from what happens

    def _durable(self) -> None:
        """A command's changes are in the store: they may be sent, whether its caller waits or has gone."""
        if self._may_send:
            self._sync.pump.run()

    def _before_sync(self) -> None:
        """What is about to be synced may be sealed in the same write."""
        if self._may_send:
            self._sync.pump.seal_along()

    @property
    def _may_send(self) -> bool:
        return not (self._wiper.ordered or self._anew.away)
