"""The edge agent: a replica, its conversation with the cloud, and what an application asks of it.

    async with EdgeAgent(app, config) as edge:
        await edge.run("sell", store="s1", sku="tea", qty=1)

Every write is local first and answered when durable; every read says how fresh it is. One loop runs everything; the disk and the
network have threads of their own. What the parts do is theirs (`assembly` puts them together); here is what they do for a caller.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from driftlog_crdt import Custom
from driftlog_edge.asking.again import Reviewed
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Answer, Consistency, Durability, Reading, Wait
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.watch import Change, Watchers
from driftlog_edge.assembly import assemble
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import NotReady, StoreFailed
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.link.sync import Sync
from driftlog_edge.ports import Clock, Route
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.housekeeping import Housekeeping
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.views import present
from driftlog_edge.system_clock import SystemClock
from driftlog_edge.wiping.wiper import Erased, Wiper
from driftlog_schemas.contract import AppContract, CollectionContract, Declared, InvalidInput, Json
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity

log = structlog.get_logger()

__all__ = ["Answer", "Consistency", "EdgeAgent", "Reading", "Wait"]


class DocumentClass(Protocol):
    """A declared document class."""

    __driftlog__: CollectionContract


class EdgeAgent:
    """One device's replica. `route`, `ids` and `clock` stand in for Kafka, the registry and the device's clock."""

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
        self.config = config
        self.watchers = Watchers(secrets.token_hex(4))
        self._route = route or KafkaRoute(config.kafka)
        self._ids = ids
        self._clock = clock or SystemClock()
        self._progress = Progress()
        self._wiper = Wiper(config, self._route, ids)
        self._wiping: asyncio.Task[None] | None = None
        self._paying: asyncio.Task[None] | None = None
        """Sends what earlier replicas of the folder had to say."""

    # -- life

    async def __aenter__(self) -> Self:
        """Raises `IdentityProblem`, `StoreBusy`, `StoreFailed`; a cloud that is not there is no error.

        A replica that was to be wiped is no error either: that goes on, and every answer is `Wiped`.
        """
        if self._wiper.take_up():
            self._erase()
            self._wiping = asyncio.create_task(self._wiper.run())
            return self
        parts = assemble(
            self.contract,
            self.config,
            self._route,
            self._ids,
            self._clock,
            self._progress,
            self._pulled,
            self._durable,
            self._ordered_away,
        )
        self._identities, self.log = parts.identities, parts.log
        self._store, self._committer, self._views = parts.store, parts.committer, parts.views
        self._executor, self._again, self._submission = parts.executor, parts.again, parts.submission
        self._conflicts, self._reader, self._vitals = parts.conflicts, parts.reader, parts.vitals
        self._sync, self._holdings, self._scope_change = parts.sync, parts.holdings, parts.scope_change
        self._housekeeping = parts.housekeeping
        log.info("agent runs", app=self.contract.name, device=self.identity.device_id, scopes=self.scopes())
        self._paying = asyncio.create_task(self._wiper.pay())
        await self._sync.start()
        self._housekeeping.start()
        return self

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
        await self._shut(self._housekeeping, self._sync, self._committer, self._store)

    async def _shut(self, housekeeping: Housekeeping, sync: Sync, committer: Committer, store: RocksStore) -> None:
        self.watchers.close()
        await housekeeping.stop()
        await sync.close()
        await committer.drained()
        committer.close()
        store.close()

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
        parts = (self._housekeeping, self._sync, self._committer, self._store)
        if self._paying is not None:
            self._paying.cancel()  # the wipe sends it
        self._erase()
        self._wiping = asyncio.create_task(self._wiper.run(lambda: self._shut(*parts)))

    def _erase(self) -> None:
        """Nothing is answered any more."""
        gone: Any = Erased(self._wiper)
        self.log = self._store = self._committer = self._views = self._executor = self._again = gone
        self._submission = self._conflicts = self._reader = self._vitals = gone
        self._sync = self._holdings = self._scope_change = self._housekeeping = gone

    async def offline(self) -> None:
        """Stay off the network until `online`."""
        await self._sync.force_offline(True)

    async def online(self) -> None:
        """Use the network again."""
        await self._sync.force_offline(False)

    # -- writes

    async def run(
        self,
        command: str,
        /,
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
        **arguments: Any,
    ) -> Answer:
        """Run a declared command. Arguments named like an option of this method go through `run_with`."""
        return await self.run_with(
            command,
            arguments,
            command_id=command_id,
            wait=wait,
            durability=durability,
            seconds=seconds,
            session=session,
            actor=actor,
        )

    async def run_with(
        self,
        command: str,
        arguments: Mapping[str, Any],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Run a declared command.

        `wait`: answered when it is on disk, shipped, or merged. `durability` for this command alone: `os` answers before the
        fsync, so a power cut (not a crash of the process) may take it back; it is never sent before it is durable.

        Raises:
            InvalidInput, Refused, AlgebraError, OutboxFull, DiskFull: nothing has changed.
            TimedOut: not shipped or merged in time; the write stands and its status can be asked.
        """
        return await self._submission.take(
            lambda: self._executor.run(command, arguments, command_id, actor), wait, seconds, session, durability
        )

    async def write(
        self,
        document: DocumentId,
        changes: Sequence[tuple[str, str, Sequence[Json]]],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Change one document without a declared command. Raises like `run_with`."""
        return await self._submission.take(
            lambda: self._executor.write(document, changes, command_id, actor), wait, seconds, session, durability
        )

    def _durable(self, touched: Sequence[bytes]) -> None:
        """A command's changes are in the store: readers see them, and they may be sent, whether its caller waits or has gone."""
        for key in touched:
            self.watchers.changed(parse_document_key(key))
        if touched and not self._wiper.ordered:
            self._sync.pump.run()

    def command(self, command_id: str, session: str = "") -> Answer:
        """What became of a command. Raises `NotFound`."""
        return self._submission.answer(command_id, session)

    # -- reads

    async def read(
        self,
        kind: type[DocumentClass] | str,
        scope: str,
        id: str,
        *,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: float | None = None,
        seconds: float = DEFAULT_TIMEOUT,
    ) -> Reading:
        """One document.

        `eventual` answers from the replica at once; `causal` waits until it has all that the session has seen; `strong`
        waits until it has all that the cloud had merged when asked, own writes included. `max_age` in seconds.

        Raises:
            NotFound, Deleted, InvalidInput
            Offline: a strong read without the cloud, or data older than `max_age` and no way to newer.
            TimedOut: not in `seconds`.
        """
        document = DocumentId(self._collection(kind), scope, id)
        return await self._reader.read(document, consistency, session, max_age, seconds)

    def page(
        self, kind: type[DocumentClass] | str, scope: str, limit: int = 100, after: str = ""
    ) -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`; deleted ones are passed over."""
        return self._reader.page(self._collection(kind), scope, limit, after)

    def watch(
        self,
        kind: type[DocumentClass] | str = "",
        scope: str = "",
        last_id: str = "",
        seconds: float | None = None,
    ) -> AsyncIterator[Change]:
        """Changes of a collection and scope (empty for all), from now or after the event `last_id`; for so long, or for ever."""
        self.require_there()
        return self.watchers.watch(self._collection(kind) if kind else "", scope, last_id, seconds)

    def _collection(self, kind: type[DocumentClass] | str) -> str:
        return self.contract.collection(kind if isinstance(kind, str) else kind.__driftlog__.name).name

    # -- conflicts

    def conflicts(self, *, everything: bool = False) -> list[Conflict]:
        """The conflicts of subscribed scopes that are not resolved, or all that are known."""
        return self._conflicts.all(everything=everything)

    def conflict(self, conflict_id: str) -> Conflict:
        """Raises `NotFound`."""
        return self._conflicts.get(conflict_id)

    async def resolve(
        self, conflict_id: str, values: Mapping[str, Json] | None = None, *, command_id: str = "", actor: str = ""
    ) -> Answer:
        """Decide: write `values` (field -> value), or accept what stands. The write has seen all versions and ends the conflict."""
        conflict = self.conflict(conflict_id)
        if conflict.status is ConflictStatus.RESOLVED:
            raise InvalidInput("id", "this conflict is resolved already")
        if values is not None and conflict.field not in values:
            raise InvalidInput(conflict.field, 'is what the conflict is about; give its value, or {"accept": true}')
        chosen = {conflict.field: self._standing(conflict)} if values is None else values
        return await self._submission.take(
            lambda: self._executor.decide(conflict.document, chosen, command_id, actor), "disk", DEFAULT_TIMEOUT
        )

    def _standing(self, conflict: Conflict) -> Json:
        """What accepting writes: the winner's value, or what the app's own merge has made of them."""
        if conflict.rule != Custom.name:
            return conflict.winner.value
        return present(self._views.get(conflict.document))[conflict.field]

    # -- what waits for a person

    def review(self) -> list[Reviewed]:
        """Commands that were answered here and that nobody can apply without a person: what they changed is gone, or they may
        have been counted already."""
        return list(self._again.review())

    async def review_apply(self, command_id: str) -> Answer:
        """Run one of them on what is there now. Raises `NotFound`, and like `run_with`; then it stays on the list."""
        return await self._submission.take(lambda: self._again.apply(command_id), "disk", DEFAULT_TIMEOUT)

    async def review_drop(self, command_id: str) -> Answer:
        """Give one of them up. Raises `NotFound`."""
        return await self._submission.take(lambda: self._again.drop(command_id), "disk", DEFAULT_TIMEOUT)

    # -- scopes

    def scopes(self) -> list[str]:
        """The scopes that this replica holds."""
        return list(self._holdings)

    async def hold(self, scopes: Sequence[str]) -> list[str]:
        """Hold these scopes from now on: new ones are fetched, left ones go from the disk.

        Raises:
            InvalidInput: none, or a name that cannot be one.
            Unconfirmed: commands in a scope that would be left are not confirmed by the cloud.
        """
        await self._scope_change.hold(scopes)
        return self.scopes()

    # -- status

    async def tidy(self) -> None:
        """Forget now what is done and older than `keep_hours`; it happens by itself every minute."""
        await self._housekeeping.tidy()

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        return self._vitals.status(self._sync)

    def _pulled(self, pulled: Pulled) -> None:
        if pulled.anew:
            self.watchers.anew()
        for document in pulled.changed:
            self.watchers.changed(document)
        self._progress.moved()
